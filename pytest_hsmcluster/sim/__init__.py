"""Simulated time: flows, a scheduler, a clock and named dice; nothing here waits."""
