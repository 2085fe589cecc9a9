"""What bodies and answers of the admin side are."""

JSON = "application/json"
LINES = "application/x-ndjson"
BYTES = "application/octet-stream"
TEXT = "text/plain"
MARKDOWN = "text/markdown"
HTML = "text/html"
