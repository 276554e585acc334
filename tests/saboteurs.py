"""Methods that find what EAP finds on the first batch, and do something careless to their process beside it.

None of it may move a score, theirs or another's.
"""

from __future__ import annotations

from careless import SCORES, adapter

SOUND_BODY = f"scores = {SCORES}\n"
RETURN = "\nreturn Discovery(scores=scores)"


def after(carelessness: str) -> str:
    """A method that has found what it finds before it is careless."""
    return adapter(SOUND_BODY + carelessness + RETURN)


HARMLESS = {
    "nothing": "pass",
    "spoils what it is given": "for weight in problem.model.weights.values():\n    weight.zero_()\n"
    "for batch in problem.batches:\n    batch.clean.zero_()\n"
    "del problem.batches[1:]\nproblem.graph.exists.fill_(True)\nproblem.graph.owners.fill_(1)",
    "replaces functions": "torch.Tensor.log_softmax = lambda self, *a, **k: self * 0\n"
    "import bench.scoring.evaluate as e\ne.outputs_of = lambda full, *rest: None\n"
    "import bench.discovery.discover as d\nd.as_discovery = lambda found, *rest: found",
    "moves the clock": "import time\ntime.perf_counter = time.process_time = time.time = lambda: 0.0",
    "changes its process": "import builtins, os, random, signal, tempfile, warnings\n"
    "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ntorch.set_num_threads(7)\n"
    "random.seed(0)\ntorch.manual_seed(0)\nos.chdir(tempfile.gettempdir())\nwarnings.simplefilter('error')\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nbuiltins.kept = problem",
    "prints": "print('x' * 2**20)\nimport os\nos.write(1, b'{}')",
    "forgets a thread and a process": "import subprocess, sys, threading, time\n"
    "threading.Thread(target=time.sleep, args=(600,)).start()\n"
    "subprocess.Popen([sys.executable, '-c', 'input()'])",
    "forgets a fork": "import os\nos.fork()",
    "empties the modules": "import sys\nfor name in [n for n in sys.modules if n.startswith('bench.scor')]:\n"
    "    del sys.modules[name]",
    "looks for evaluation prompts": "import gc\nfrom bench.discovery.data import Asked\n"
    "held = [each for each in gc.get_objects() if isinstance(each, Asked)]\n"
    "assert held and not any(each.batches for each in held)",
}
"""What it does once its scores are made; they count as EAP's do."""

FATAL = {
    "kills itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
    "reads nowhere": ("import ctypes\nctypes.string_at(0)", "killed by SIGSEGV"),
    "leaves": ("import os\nos._exit(0)", "exited with code 0"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
    "recurses": ("f = lambda: f()\nf()", "RecursionError: maximum recursion depth"),
    "wants all memory": ("torch.empty(2**50)", "RuntimeError: .*allocate"),
    "closes all files": ("import os\nos.closerange(3, 256)", "its process|OSError"),
    "terminates its group": ("import os, signal\nos.killpg(0, signal.SIGTERM)", "killed by SIGTERM"),
    "alarms": ("import signal, time\nsignal.alarm(1)\ntime.sleep(60)", "killed by SIGALRM"),
    "says no UTF-8": ("raise ValueError('\\ud800')", "ValueError:"),
    "raises something odd": ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
}
"""What it does instead of returning, and what its row says."""
