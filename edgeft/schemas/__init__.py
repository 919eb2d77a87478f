"""JSON Schemas (draft 2020-12) of manifest.json, report.json, the bench result and summary.json. Data only."""
