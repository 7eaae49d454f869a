"""What goes wrong in a suite that asked for nothing to go wrong, and which part of it mattered?"""
