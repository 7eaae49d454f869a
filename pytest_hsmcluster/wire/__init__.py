"""How does a PKCS#11 call travel between the C library and Python?  Without I/O, and without knowing any HSM."""
