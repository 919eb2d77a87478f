"""Number formats: one file each, with its record `FORMAT` (`edgeft.config.number_format`)."""
