"""Is it any good? Watching streams and files, passing or failing results, and what to do when a method fails.

=============  ==============================================================================
figures        noise floor, speech level, artefacts, lost speech ... without a reference
monitor        windows of running streams, measured in the background
drift          do the figures still look like those of the time when all was well?
alerts         telling a webhook, without ever waiting for it
judge          pass or fail, with or without the clean signal
report         the verdict as JUnit XML and as a page
fallback       an enhancer that watches another and takes over when it fails
=============  ==============================================================================
"""
