"""What the keywords of version 0.1 are today: said to programs that still give them."""

from collections.abc import Mapping

_SPACE = "give an instance of the space, or space=nastk.Named('sandglass', {'width': 0.75})"
_PROXY = "give space=nastk.Named('sandglass', proxy={'scale': 0.5, 'resolution': 64})"
_PROGRESS = "give progress=, a function that receives events, or False to show none"

MOVED: Mapping[str, str] = {
    "flops": "give budget='357M'",
    "params": "give budget={'params': '4M'}, of several costs {'flops': '357M', 'params': '4M'}",
    "activations": "give budget={'activations': '6M'}, several costs in one dict",
    "front": "give budget=nastk.Front(6), or nastk.Front(6, '357M')",
    "steps": "give it to the strategy, as in strategy=nastk.strategies.MetaKernel(steps=300)",
    "evaluations": "give it to the strategy, as in nastk.strategies.Evolution(evaluations=8)",
    "finalists": "give it to the strategy, as in nastk.strategies.MetaKernel(finalists=4)",
    "strategy_options": "give strategy=nastk.Named('evolution', {'evaluations': 8})",
    "evaluator_options": "give evaluator=nastk.Named('zico', {'num_batches': 4})",
    "supernet": "give evaluator=nastk.Named('inherit', {'supernet': RUN})",
    "epochs": "it is a setting of the recipe, as in recipe={'epochs': 10}",
    "batch_size": "it is a setting of the recipe, as in recipe={'batch_size': 128}",
    "lr": "it is a setting of the recipe, as in recipe={'lr': 0.01}",
    "device": "give execution=nastk.Execution(device='cuda')",
    "workers": "give execution=nastk.Execution(workers=2)",
    "memory": "give execution=nastk.Execution(memory='low')",
    "precision": "give execution=nastk.Execution(precision='bfloat16')",
    "cuda_graph": "give execution=nastk.Execution(device='cuda', cuda_graph=True)",
    "strict": "give execution=nastk.Execution(strict=True)",
    "processes": "give execution=nastk.Execution(processes=2)",
    **dict.fromkeys(("target_resolution", "target_classes", "space_options"), _SPACE),
    **dict.fromkeys(("proxy_scale", "proxy_resolution"), _PROXY),
    **dict.fromkeys(("quiet", "report"), _PROGRESS),
}

_KEPT = ("flops", "params", "activations", "front", "quiet", "report")
RESUMED: Mapping[str, str] = {
    **dict.fromkeys(MOVED, "a search goes on as it was begun; leave it out, or begin another"),
    **{name: MOVED[name] for name in _KEPT},
}
"""The same of keywords with which a search is resumed."""
