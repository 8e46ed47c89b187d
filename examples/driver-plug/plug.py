#!/usr/bin/env python3
"""A plug to try the driver with: `GET /relay/0?turn=on|off` over HTTP. Usage: plug.py PORT"""
import http.server
import json
import sys
import urllib.parse


class Plug(http.server.BaseHTTPRequestHandler):
    on = False

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path != "/relay/0":
            return self.send_error(404)
        turn = urllib.parse.parse_qs(url.query).get("turn", [])
        if turn:
            Plug.on = turn == ["on"]
            print("on" if Plug.on else "off", flush=True)
        body = json.dumps({"ison": Plug.on}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Plug).serve_forever()
