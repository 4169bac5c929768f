"""Child process of `local_models.py`: llama.cpp's OpenAI-compatible server for one model, until its parent ends."""

import os
import sys

import xllamacpp

if __name__ == "__main__":
    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.n_parallel = int(sys.argv[2])  # layers go to a GPU if there is one: n_gpu_layers is automatic by default
    params.n_ctx = int(sys.argv[3])  # shared by the slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = os.cpu_count() or 1
    params.offline = True
    params.ui = False
    params.verbosity = -1
    params.api_keys = [os.environ["AUTO_INSTRUCT_SERVER_KEY"]]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # nothing to save, and a clean shutdown waits for requests nobody reads
