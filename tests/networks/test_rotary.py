"""Rotary positions: products of turned vectors depend on the distance of their places alone."""

from __future__ import annotations

import torch

from genlab.networks.blocks.rotary import RotaryPositions


def test_products_depend_on_the_distance_alone_and_lengths_stay() -> None:
    noise = torch.Generator().manual_seed(0)
    positions = RotaryPositions(8, 20)
    query, key = torch.randn(2, 8, generator=noise).expand(20, 2, 8).unbind(1)
    products = positions(query) @ positions(key).T
    for distance in (0, 1, 7):
        along = products.diagonal(distance)
        torch.testing.assert_close(along, along[:1].expand_as(along))
    assert not torch.allclose(products[0, 1], products[1, 0])
    torch.testing.assert_close(positions(query).norm(dim=1), query.norm(dim=1))


def test_one_place_is_turned_as_in_its_row() -> None:
    positions = RotaryPositions(8, 20)
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    for place in (0, 13):
        for where in (place, torch.tensor(place)):
            torch.testing.assert_close(positions.to_place(where)(x[place : place + 1]), positions(x)[place : place + 1])
