"""How do unmodified applications, which load a PKCS#11 library, come to the emulated cluster?"""
