"""A web server that appends what is POSTed to it to a file, then says yes.

python webhook_server.py PORT FILE [CERTIFICATE KEY]

/hook and /hook/NAME say 200 after they have written, /most/5000 if a body is no longer than that; /status/503 says 503
and writes nothing. /bearer wants the token a+b=%.
"""

import ssl
import sys
from pathlib import Path

from aiohttp import web

port, file = int(sys.argv[1]), Path(sys.argv[2])


async def take(request: web.Request) -> web.Response:
    if request.content_type != "application/x-ndjson":
        return web.Response(status=415)
    with file.open("ab") as out:
        out.write(await request.read())
    return web.Response(text="ok")


async def take_short(request: web.Request) -> web.Response:
    if int(request.headers["Content-Length"]) > int(request.match_info["most"]):
        return web.Response(status=413)
    return await take(request)


async def take_known(request: web.Request) -> web.Response:
    if request.headers.getall("Authorization", []) != ["Bearer a+b=%"] or "#" in request.raw_path:
        return web.Response(status=401)
    return await take(request)


async def status(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(status=int(request.match_info["status"]))


app = web.Application(client_max_size=2**26)
app.add_routes([web.post("/hook", take), web.post("/hook/{name}", take), web.post("/status/{status}", status)])
app.add_routes([web.post("/most/{most}", take_short), web.post("/bearer", take_known)])
context = None
if len(sys.argv) > 3:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=lambda *_: None)
