"""When does a client try again by itself?

Only when the HSM was too busy to take the request, and only SDK 5 in retry mode `standard`
(AWS CloudHSM User Guide, "Retry commands for PKCS #11").  A key that is missing on the HSM is
never retried behind the application's back: no source claims that it is.
"""

from ..service.profile import Profile


def backoff_ns(attempt: int, profile: Profile) -> int | None:
    """Return the pause before a throttled request is sent again, or None when it is not.

    Args:
        attempt: 1 for the first retry.
        profile: gives SDK, retry mode, number of retries, base and cap.

    Returns:
        A duration in ns that doubles with each attempt up to the cap.  The source says
        exponential and up to three; base and cap are guesses.
    """
    if profile.sdk != 5 or profile.retry_mode == "off" or attempt > profile.retry_attempts:
        return None
    return min(profile.backoff_base_ns << (attempt - 1), profile.backoff_cap_ns)
