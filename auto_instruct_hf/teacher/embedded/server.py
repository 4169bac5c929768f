"""Child process of `embedded_server.py`: llama.cpp's OpenAI-compatible server for one model, until its parent ends."""

import os
import sys

import xllamacpp


def serve(weights: str, slots: int, context: int) -> None:
    """Serve `weights` on a free port of loopback, print the address, and wait for the end of standard input."""
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.n_ctx = context  # shared by the slots
    params.n_parallel = slots  # layers go to a GPU if there is one: n_gpu_layers is automatic by default
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.offline = True
    params.ui = False
    params.verbosity = -1
    params.api_keys = [os.environ["AUTO_INSTRUCT_SERVER_KEY"]]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # nothing to save, and a clean shutdown waits for requests nobody reads


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
