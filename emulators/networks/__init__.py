"""Architectures: pairs of a generator and a critic, built by name from options and a spec.

Importing this package registers ``calogan``, ``cosmogan``, ``cosmogan-conditional``,
``cosmogan-multiscale``, ``dcgan``, ``field``, ``heavy-tail``, ``mlp`` and ``shower``; `base` says
what a new one needs.
"""

from emulators.networks import calogan, cosmogan, dcgan, field, mlp, multiscale, shower
from emulators.networks.base import (
    ARCHITECTURES,
    Architecture,
    Critic,
    Generator,
    architecture,
    build_networks,
)

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "Critic",
    "Generator",
    "architecture",
    "build_networks",
    "calogan",
    "cosmogan",
    "dcgan",
    "field",
    "mlp",
    "multiscale",
    "shower",
]
