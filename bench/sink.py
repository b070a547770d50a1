"""A gradebook that takes every grade after so many milliseconds. Run as ``python -m bench.sink PORT MILLISECONDS``;
what it took goes to standard output as one JSON document when it is stopped."""

import asyncio
import json
import re
import signal
import sys
import time

ANSWER = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<imsx_POXEnvelopeResponse xmlns="http://www.imsglobal.org/services/ltiv1p1/xsd/imsoms_v1p0"><imsx_POXHeader>'
    "<imsx_POXResponseHeaderInfo><imsx_version>V1.0</imsx_version>"
    "<imsx_messageIdentifier>1</imsx_messageIdentifier><imsx_statusInfo>"
    "<imsx_codeMajor>success</imsx_codeMajor><imsx_severity>status</imsx_severity>"
    "<imsx_description>stored</imsx_description>"
    "<imsx_messageRefIdentifier>{reference}</imsx_messageRefIdentifier>"
    "<imsx_operationRefIdentifier>replaceResult</imsx_operationRefIdentifier></imsx_statusInfo>"
    "</imsx_POXResponseHeaderInfo></imsx_POXHeader>"
    "<imsx_POXBody><replaceResultResponse/></imsx_POXBody></imsx_POXEnvelopeResponse>"
)


class Sink:
    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.connections = self.taken = self.in_flight = self.most_in_flight = 0
        self.first: float | None = None
        self.last = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])  # type: ignore[index]
                body = await reader.readexactly(length)
                writer.write(await self.answer(body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, body: bytes) -> bytes:
        self.first = self.first or time.perf_counter()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.latency)
        self.in_flight -= 1
        self.taken += 1
        self.last = time.perf_counter()
        found = re.search(rb"messageIdentifier>([^<]+)<", body)
        text = ANSWER.format(reference=found[1].decode() if found else "").encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(text) + text


async def main(port: int, milliseconds: float) -> None:
    sink = Sink(milliseconds / 1000)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await asyncio.start_server(sink.serve, "127.0.0.1", port)
    await stopped.wait()
    seconds = sink.last - (sink.first or sink.last)
    figures = {"taken": sink.taken, "seconds": seconds, "connections": sink.connections, "most": sink.most_in_flight}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
