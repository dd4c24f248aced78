"""Who it is: faces as 128 numbers, people with names, tracks of one person put together, finding and verifying.

    import mien.people

    answer = mien.people.verify("a.jpg", "b.jpg")
    print(answer.same, answer.distance)
    for match in mien.people.find_person("anna.jpg", "photos/"):
        print(match.distance, match.source)

The network is dlib's (CC0); `mien models pull identity` brings it, nothing is fetched unasked. What it computes is
biometric data in the sense of the GDPR: docs/people.md says what that asks of you. mien keeps it in memory alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
