"""A torch module -> its trace, one call a layer: torch.fx with every known module class, and every class of a library,
as a leaf. The user's own modules are looked into.

Where a sample is given, every operation is run on it as it is traced, so sizes are numbers: `x.size(0)`,
`range(x.shape[0])` and `for step in x` work. Values are never branched on: another input would take another branch.
"""

from __future__ import annotations

import copy
import inspect
import linecache
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode

from ....ir.diagnostics import BadInputError, Diagnostic, UnsupportedError, first_line
from .registry import leaf_of, qualified_name

__all__ = ["Trace", "is_several", "line_of", "private_copy", "rooted", "shape_of", "trace"]

_LIBRARIES = ("torch", "snntorch", "norse", "sinabs", "spikingjelly", "rockpool")
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_LOOKED_INTO = ("sinabs.network.Network", "sinabs.layers.reshape.FlattenTime", "sinabs.layers.reshape.UnflattenTime")
"""Classes of libraries whose `forward` is made of layers and changes of shape."""
_WRAPPERS: Mapping[str, str] = {
    "torch._dynamo.eval_frame.OptimizedModule": "_orig_mod",
    "torch.nn.parallel.data_parallel.DataParallel": "module",
    "torch.nn.parallel.distributed.DistributedDataParallel": "module",
    "torch.optim.swa_utils.AveragedModel": "module",
}
"""Where these have the module that they compute."""
_HOOKS = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs")
_SIZES = ("size", "dim", "ndimension", "numel", "nelement")
_FACTS = ("shape", "ndim", "dtype", "device", "is_cuda", "layout")
_VALUES = ("item", "tolist", "numpy")
_SPIKEC = str(Path(__file__).resolve().parents[2])


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """What `forward` did. `root`: the module that the paths in `graph` start from."""

    root: nn.Module
    graph: fx.Graph


def line_of(node: fx.Node) -> str:
    """Where in the user's code a node was traced, to be appended to a message; empty where it was in none."""
    line = node.meta.get("line")
    return f" ({line})" if line else ""


def shape_of(node: fx.Node) -> tuple[int, ...] | None:
    """The shape of a value, or of the first of several, batch included; None where there was no sample to tell it."""
    found: tuple[int, ...] | None = node.meta.get("shape")
    return found


def is_several(node: fx.Node) -> bool:
    """Whether a value is several, as neurons return spikes and states; what a module returns is, as far as known."""
    return bool(node.meta.get("several", node.op == "call_module"))


def private_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode that shares the parameters, which nothing here writes to. States that a run left in the
    module, which torch refuses to copy, are detached. Some libraries copy their modules by making them again, and lose
    settings; others give `modules` and `parameters` another meaning: both are passed by. Of wrappers that add nothing
    to what a module computes, the module itself is copied."""
    memo: dict[int, Any] = {id(parameter): parameter for parameter in nn.Module.parameters(module)}
    made_again: list[tuple[nn.Module, nn.Module]] = []
    for part in nn.Module.modules(module):
        for tensor in (*part._buffers.values(), *vars(part).values()):
            if isinstance(tensor, torch.Tensor) and not tensor.is_leaf:
                memo[id(tensor)] = tensor.detach().clone()
        if hasattr(type(part), "__deepcopy__"):
            memo[id(part)] = object.__new__(type(part))
            made_again.append((part, memo[id(part)]))
    for part in reversed(list(nn.Module.modules(module))):
        if qualified_name(type(part)) in _WRAPPERS:
            copied = copy.deepcopy(getattr(part, _WRAPPERS[qualified_name(type(part))]), memo)
            for table in _HOOKS:
                getattr(copied, table).update(getattr(part, table))
            memo[id(part)] = copied
    for part, again in made_again:
        vars(again).update(copy.deepcopy(vars(part), memo))
    return copy.deepcopy(module, memo).eval()


def trace(module: nn.Module, sample: Any = None) -> Trace:
    """The trace of `module`. `sample`: what its `forward` takes, a tensor or a tuple.

    Raises:
        UnsupportedError: (SC221) its `forward` cannot be traced; modules without a converter that were met before are
            told, too (SC220).
        BadInputError: (SC225) an operation fails on what the sample gives.
    """
    root = rooted(module)
    parameters = inspect.signature(root.forward).parameters
    positional = [name for name, each in parameters.items()
                  if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    given = () if sample is None else tuple(sample) if isinstance(sample, (tuple, list)) else (sample,)
    known = dict(zip(positional, given, strict=False))
    constants = {name: value for name, value in known.items() if isinstance(value, (int, float, str, type(None)))}
    constants |= {name: each.default for name, each in parameters.items()
                  if name not in known and isinstance(each.default, (int, float, str, type(None)))}
    if any(each.kind is each.VAR_POSITIONAL for each in parameters.values()):
        raise UnsupportedError(Diagnostic(
            "SC221", f"forward of {qualified_name(type(module))} takes any number of arguments",
            remedy="Name its parameters, or wrap it in a module whose forward does."))
    tracer = _Tracer({name: _copied(value) for name, value in known.items() if name not in constants})
    try:
        with torch.no_grad(), _Writes(tracer):
            graph = tracer.trace(root, concrete_args=constants or None)
    except _Misfit as error:
        unknown = _unknown_modules(tracer)
        raise (UnsupportedError if unknown else BadInputError)(*unknown, _misfit(error)) from error
    except Exception as error:
        raise UnsupportedError(*_unknown_modules(tracer), _untraceable(module, error, bool(given))) from error
    return Trace(root, graph)


def rooted(module: nn.Module) -> nn.Module:
    """The module itself, or a sequence of it alone where it is a leaf, or is called by another way than `forward`, as
    Rockpool's are."""
    if hasattr(module, "evolve"):
        return _Evolved(module)
    return nn.Sequential(module) if leaf_of(module) is not None else module


class _Evolved(nn.Sequential):
    """A module of Rockpool, which returns what it gives, its state and what it recorded."""

    def forward(self, input: Any) -> Any:
        returned, _, _ = self[0](input)
        return returned


class _Untraceable(Exception):
    """What a trace cannot follow, with a remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class _Misfit(Exception):
    """What an operation fails with on the sample. `what`: the operation, and the shape of what it was given."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__(first_line(error))
        self.what = what


class _Missing(Exception):
    """A value that an operation needs is not known."""


class _Tracer(fx.Tracer):
    """`samples`: values of the parameters of `forward`, as far as known."""

    def __init__(self, samples: Mapping[str, Any]) -> None:
        super().__init__()
        self.samples = samples
        self.running = False
        self.upcoming: tuple[Any, ...] = ()
        self.random = torch.get_rng_state()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if qualified_name(type(m)) in _LOOKED_INTO:
            return False
        library = type(m).__module__.partition(".")[0] in _LIBRARIES and not isinstance(m, _CONTAINERS)
        return library or leaf_of(m) is not None

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...],
                    kwargs: dict[str, Any]) -> Any:
        if self.running:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Known(node, self, self.upcoming[0]) if self.upcoming else _Proxy(node, self)

    def create_proxy(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any],
                     name: str | None = None, type_expr: Any = None, proxy_factory_fn: Any = None) -> Any:
        if not torch.equal(self.random, torch.get_rng_state()):
            raise _Untraceable(*_RANDOM)
        value, known = self._value(kind, target, args, kwargs)
        if known and kind == "call_method" and target in _SIZES:
            return value
        self.upcoming = (value,) if known else ()
        proxy: Any = super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)
        proxy.node.meta["line"] = _user_line(sys._getframe())
        if known:
            several = isinstance(value, (tuple, list))
            first = value[0] if several and value else value
            proxy.node.meta["several"] = several
            if isinstance(first, torch.Tensor):
                proxy.node.meta["shape"] = tuple(first.shape)
        return proxy

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        raise _Untraceable("a loop runs over a tensor of unknown length", "Pass sample=, which tells it.")

    def to_bool(self, obj: fx.Proxy) -> bool:
        raise _Untraceable(*(_SIZE_BRANCH if _is_size(obj.node) else _BRANCH))

    def _value(self, kind: str, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool]:
        """What the node gives for the sample, and whether that is known."""
        if kind == "placeholder":
            return self.samples.get(str(target)), str(target) in self.samples
        if kind == "output" or not self.samples:
            return None, False
        try:
            values = fx.node.map_aggregate((args, kwargs), _known)
        except _Missing:
            return None, False
        self.running = True
        try:
            return self._run(kind, target, *values), True
        except (RuntimeError, IndexError, ValueError) as error:
            first = next((each for each in values[0] if isinstance(each, torch.Tensor)), None)
            given = "" if first is None else f" on a value of shape {tuple(first.shape)}"
            raise _Misfit(f"'{getattr(target, '__name__', target)}' fails{given}", error) from error
        finally:
            self.running = False
            torch.set_rng_state(self.random)  # what an operation draws is its own affair

    def _run(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        name = target if isinstance(target, str) else getattr(target, "__name__", "")
        if args and isinstance(args[0], torch.Tensor) and (name.endswith("_") or name.startswith(("i", "setitem"))):
            args = (args[0].clone(), *args[1:])  # in place: what came before keeps its value
        if kind == "call_function":
            return target(*args, **kwargs)
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        found = operator.attrgetter(target)(self.root)
        if kind == "get_attr":
            return found
        # What stands for the call is what `forward` gives; classes with a `__call__` of their own add to that.
        return nn.Module.__call__(found, *args, **kwargs)


class _Writes(TorchFunctionMode):
    """Notes into which tensors of the user values of the trace are written; what is made of those is traced, too."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer
        self.written: dict[int, torch.Tensor] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:
        named, name = dict(kwargs or {}), getattr(func, "__name__", "")
        if self.tracer.running or name in ("__get__", "__len__", *_SIZES):
            return func(*args, **named)
        if name == "__setitem__" and isinstance(args[0], torch.Tensor) and _proxies(args[1:]):
            self.written[args[0].untyped_storage().data_ptr()] = args[0]
        elif self.written and not _proxies((args, named)) and any(
                each.untyped_storage().data_ptr() in self.written for each in _tensors((args, named))):
            plain = getattr(operator, name.strip("_"), None) if name.startswith("__") else None
            if plain is None and torch.overrides.is_tensor_method_or_property(func):
                return self.tracer.create_proxy("call_method", name, args, named)
            return self.tracer.create_proxy("call_function", plain or func, args, named)
        return func(*args, **named)


def _proxies(value: Any) -> list[Any]:
    found: list[Any] = []
    fx.node.map_aggregate(value, lambda each: found.append(each) if isinstance(each, fx.Proxy) else None)
    return found


def _tensors(value: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    fx.node.map_aggregate(value, lambda each: found.append(each) if isinstance(each, torch.Tensor) else None)
    return found


def _is_size(node: fx.Node) -> bool:
    """Whether a value is made of sizes of others alone."""
    if node.op == "call_method" and node.target in _SIZES:
        return True
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _FACTS
    parts = node.all_input_nodes
    return bool(parts) and all(map(_is_size, parts))


_BRANCH = ("forward branches on the values of a tensor",
           "A graph does the same for every input: let a loop run all its steps, and choose outside of forward.")
_SIZE_BRANCH = ("forward branches on a size, which is not known", "Pass sample=, one batch as forward takes it.")

_RANDOM = ("forward draws random numbers", "A graph does the same at every step: draw them outside, and give them as "
           "an input, or as a buffer of the module.")


class _Proxy(fx.Proxy):
    """Stands for a value that is not known."""

    def __getattr__(self, k: str) -> Any:
        if k in _VALUES:
            raise _Untraceable(*_BRANCH)
        return super().__getattr__(k)

    def __len__(self) -> int:
        raise _Untraceable("the length of a tensor is asked for, and not known", "Pass sample=, which tells it.")

    def __index__(self) -> int:
        raise _Untraceable("a size or a value of a tensor is used as a number, and is not known",
                           "Pass sample=, which tells sizes; values cannot be known.")

    def __int__(self) -> int:
        return self.__index__()

    def __float__(self) -> float:
        raise _Untraceable(*_BRANCH)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, key, value), {})


class _Known(_Proxy):
    """Stands for a value whose `known` counterpart for the sample tells its sizes."""

    def __init__(self, node: fx.Node, tracer: _Tracer, known: Any) -> None:
        super().__init__(node, tracer)
        self.known = known

    def __getattr__(self, k: str) -> Any:
        known = self.__dict__.get("known")
        if (k in _FACTS or not isinstance(known, torch.Tensor)) and hasattr(known, k):
            value = getattr(known, k)
            if not isinstance(value, torch.Tensor) and not callable(value):
                return value
        return super().__getattr__(k)

    def __iter__(self) -> Iterator[Any]:
        proxy: Any = self
        return (proxy[number] for number in range(len(self)))

    def __len__(self) -> int:
        return len(self.known)


def _known(value: Any) -> Any:
    if not isinstance(value, fx.Proxy):
        return value
    if not isinstance(value, _Known):
        raise _Missing
    return value.known


def _copied(value: Any) -> Any:
    """A sample that the trace may work on: detached, not the user's own memory."""
    return fx.node.map_aggregate(value, lambda each: each.detach().clone() if isinstance(each, torch.Tensor) else each)


def _unknown_modules(tracer: _Tracer) -> list[Diagnostic]:
    found: dict[str, Diagnostic] = {}
    graph = getattr(tracer, "graph", None)
    for node in graph.nodes if graph is not None else ():
        if node.op == "call_module" and leaf_of(tracer.root.get_submodule(str(node.target))) is None:
            kind = type(tracer.root.get_submodule(str(node.target)))
            found.setdefault(str(node.target), Diagnostic(
                "SC220", f"there is no converter for {qualified_name(kind)}{line_of(node)}", str(node.target)))
    return list(found.values())


def _misfit(error: _Misfit) -> Diagnostic:
    return Diagnostic("SC225", f"{error.what}, which the sample leads to: {error}{_place(error)}",
                      remedy="Give one batch as forward takes it, with as many features as its first layers take.")


def _untraceable(module: nn.Module, error: Exception, sampled: bool) -> Diagnostic:
    what = f"forward of {qualified_name(type(module))} cannot be traced"
    return Diagnostic("SC221", f"{what}: {first_line(error)}{_place(error)}",
                      remedy=error.remedy if isinstance(error, _Untraceable) else
                      _LAYERS if sampled else f"{_SAMPLE} {_LAYERS}")


def _place(error: Exception) -> str:
    """The last line of the user's code that an error came through, to be appended to a message."""
    line, step = None, error.__traceback__
    while step is not None:
        if _is_users(step.tb_frame.f_code.co_filename):
            line = _shown(step.tb_frame.f_code.co_filename, step.tb_lineno)
        step = step.tb_next
    return f" ({line})" if line else ""


_SAMPLE = "Pass sample=, one batch as forward takes it, so that sizes are known."
_LAYERS = "forward is made of layers, sums and loops over steps, without branches on values."


def _user_line(frame: FrameType | None) -> str | None:
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return _shown(frame.f_code.co_filename, frame.f_lineno)
        if frame.f_code is trace.__code__:
            return None
        frame = frame.f_back
    return None


@cache
def _is_users(file: str) -> bool:
    parts = Path(file).parts
    if file.startswith(str(Path(inspect.__file__).parent)) and "site-packages" not in parts:
        return False
    return not (file.startswith(_SPIKEC) and "frontends" in parts) and not (
        "site-packages" in parts and any(library in parts for library in _LIBRARIES)) and not file.startswith("<")


def _shown(file: str, number: int) -> str:
    path = Path(file)
    near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{near}:{number}: {linecache.getline(file, number).strip()}"
