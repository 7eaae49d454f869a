"""A museum of public bugs: for each report a small application with its mistake, and the same one repaired.

The applications use python-pkcs11 and know nothing of pytest-hsmcluster.  All code is written afresh: a report gives
the mistake, nothing else.
"""
