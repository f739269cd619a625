"""A clip's width and height for a photo of any aspect. Pure."""

import math


def fitted(landscape: tuple[int, int], photo: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Width and height with the photo's aspect and at most the area of `landscape`, each a multiple of `multiple`.

    An aspect beyond that of `landscape`, or of it on its side, is cut to it.
    """
    width, height = landscape
    widest = width / height
    aspect = min(max(photo[0] / photo[1], 1 / widest), widest)
    exact = math.sqrt(width * height * aspect)
    # Both neighbours of the exact width, each with the tallest height that keeps the area: the truest aspect wins.
    candidates = [
        (across, max(multiple, min(round(across / aspect / multiple), width * height // across // multiple) * multiple))
        for across in {
            max(multiple, math.floor(exact / multiple) * multiple),
            max(multiple, math.ceil(exact / multiple) * multiple),
        }
    ]
    return min(candidates, key=lambda fit: (abs(math.log(fit[0] / fit[1] / aspect)), -fit[0] * fit[1]))
