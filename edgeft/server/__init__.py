"""`edgeft serve`: a bundle behind HTTP, for gateways; a plain ASGI application.

body.py      the inputs of a request: a file, files of a form, or words in JSON
engine.py    the model, its runtime session and what answers a request; one thread owns it
metrics.py   what Prometheus reads
app.py       routes, limits, status codes
run.py       the socket, uvicorn, and an orderly end
"""
