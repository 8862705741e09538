"""A whole search with the library's parts; `docs/architecture.md` says where each of them lies."""

import torch
from nastk.core.best import best_arch
from nastk.core.budget import parse_budget
from nastk.core.sampler import sample_archs
from nastk.core.schedule import geometric, warmup_cosine
from nastk.evaluators.train import Training
from nastk.ops.chain import set_memory
from nastk.ops.mixture import dirichlet
from nastk.search_spaces import SandglassMicro
from nastk.strategies.reading import read_ranking
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from nastk.training.task import measure, training_batch

UPDATES, ARCHS, SEED = 100, 30, 0

space = SandglassMicro()  # what may be chosen
task = make_task("digits-photo", space.resolution)  # what networks are trained on
budget = parse_budget("0.8M", space)  # what the network may cost
objective = task.objective()  # the loss of a network on a batch
events = []  # what was measured

supernet = space.supernet(seed=SEED)  # all candidates of all choices in one network
set_memory(supernet.to(memory_format=torch.channels_last), "low")  # keep one feature a convolution
optimizer = torch.optim.AdamW(supernet.parameters(), weight_decay=0.02)
for step in range(UPDATES):  # every update trains another random mixture of the candidates
    generator = torch.Generator().manual_seed(step)
    concentration = geometric(step / UPDATES, 10, 0.05)  # soft mixtures first, then hard ones
    mixture = dirichlet(supernet.num_candidates, concentration, generator)
    supernet.mix(mixture)
    batch = training_batch(task, "weights", seed=SEED, step=step, batch_size=64)
    share = torch.tensor(step / UPDATES)  # of the training that is done
    loss = objective(supernet, batch.to(share.device), share)
    optimizer.param_groups[0]["lr"] = 3e-2 * warmup_cosine(step / UPDATES, 0.15)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    rows = zip(mixture.tolist(), supernet.num_candidates, strict=True)
    shares = [row[:count] for row, count in rows]
    events.append({"supernet": 0, "mixture": shares, "loss": loss.item()})

batch = task.read("architecture", range(128), None)  # held out of the updates
for number, arch in enumerate(sample_archs(space, ARCHS, SEED)):  # by the supernet's weights
    supernet.select(arch.choices)
    with torch.no_grad():
        loss = objective(supernet, batch, torch.ones(())).item()
    about = {"supernet": 0, "tested": number, "indices": list(space.indices(arch).values())}
    events.append(about | {"inherited_loss": loss})

ranking = read_ranking(space, events, SEED)  # a score of every arch
arch = best_arch(space, ranking.polynomial, budget)  # the best of the budget, exactly
print(f"found {space.cost.count(space.indices(arch))}")

network = space.build(arch.choices, seed=SEED)  # a plain module, trained from scratch
network = Training(network=network, task=task, recipe=DEMONSTRATION, seed=SEED).fit()
print({name: round(value, 3) for name, value in measure(network, task).items()})
