"""What applications call: clients of both SDKs, blocking and awaited."""
