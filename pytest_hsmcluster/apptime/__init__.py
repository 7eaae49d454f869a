"""How does an application live in simulated time, without a change to it?"""
