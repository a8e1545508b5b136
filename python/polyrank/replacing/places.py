"""The places of one layer, and putting in all of them what belongs there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from polyrank import _C
from polyrank.replacing.held_object import HeldObject, find_holders, take_back
from polyrank.replacing.place import Place

__all__ = ["Places"]


class Places:
    """What a layer replaces, switched at once.

    What a switch has to do is worked out when it is first made with these layers on, and kept: entering a
    mode then is one call of C++ and no look at any place.

    Args:
        layer: its bit.
    """

    layers_on: ClassVar[int] = 0  # in this process, as bits

    def __init__(self, layer: int) -> None:
        self._layer = layer
        self._exchanged: list[Place] = []
        self._held: list[Place] = []
        self._switches: dict[int, _C.NameSwitch] = {}  # by the layers that are on
        self._known_changes = 0  # of places, when these were made

    def add(self, places: Iterable[Place]) -> None:
        """Take in more, and put ours there if the layer is on."""
        more = Places(self._layer)
        for place in places:
            (more._held if isinstance(place.target, HeldObject) else more._exchanged).append(place)
        if self.layers_on & self._layer:
            more.switch(on=True)
        self._held += more._held
        self._exchanged += more._exchanged
        self._switches.clear()

    def switch(self, *, on: bool) -> None:
        """Put in place what belongs there when this layer is on or off, and the others as they are."""
        layers = self.layers_on | self._layer if on else self.layers_on & ~self._layer
        self._switch_for(layers).run()
        if self._held:
            self._put_objects(layers, on=on)
        Places.layers_on = layers

    def _switch_for(self, layers: int) -> _C.NameSwitch:
        if self._known_changes != Place.num_changes:
            self._switches.clear()
            self._known_changes = Place.num_changes
        if layers not in self._switches:
            switch = self._switches[layers] = _C.NameSwitch()
            for place in self._exchanged:
                place.add_to(switch, layers)
        return self._switches[layers]

    def _put_objects(self, layers: int, *, on: bool) -> None:
        objects = [held.target for held in self._held if isinstance(held.target, HeldObject)]
        if on:
            find_holders(objects)
        for place in self._held:
            place.put_object(layers)
        if not on:
            take_back(objects)
