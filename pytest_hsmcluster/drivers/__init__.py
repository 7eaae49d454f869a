"""Who waits, drives: one driver for blocking callers, one for asyncio, one pace for real time."""
