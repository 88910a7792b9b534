"""Methods for a telephone held at the head.

``level_difference``   noise reduction by the level difference of two microphones
"""
