"""Is it any good? Watching streams and files, passing or failing results, and what to do when a method fails.

=============  ==============================================================================
fallback       an enhancer that watches another and takes over when it fails
=============  ==============================================================================
"""
