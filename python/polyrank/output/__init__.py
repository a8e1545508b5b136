"""Files and pages that polyrank writes."""
