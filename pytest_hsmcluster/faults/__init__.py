"""What goes wrong, where and when?  `points`, `effects`, `when`, `spec` and `injector`, in reading order."""
