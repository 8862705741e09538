"""The layers of a network as a networkx graph, for people who analyse topologies."""

import networkx
from torch import fx, nn


def network_graph(network: nn.Module) -> networkx.DiGraph:
    """Return a graph with one node for each call of a layer or function.

    Nodes carry `op` (the layer's class or the function's name) and `params`; edges follow the
    features from `x` to `output`.
    """
    traced = fx.symbolic_trace(network)
    modules = dict(traced.named_modules())
    graph = networkx.DiGraph()
    for node in traced.graph.nodes:
        if node.op == "call_module":
            module = modules[node.target]
            params = sum(p.numel() for p in module.parameters())
            graph.add_node(node.name, op=type(module).__name__, params=params)
        else:
            graph.add_node(
                node.name, op=getattr(node.target, "__name__", str(node.target)), params=0
            )
        graph.add_edges_from((source.name, node.name) for source in node.all_input_nodes)
    return graph
