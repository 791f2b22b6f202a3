"""All programs by name: the sound ones and the faults, each with its kind of task."""

from types import ModuleType

from programs import actions, adversaries, codes, graphs, images, marks, pairs, pixels, sequences, tables, tokens
from programs.forum import gans, gpt, masks, optimizers, recurrent, regression, vision
from programs.held_out import (
    columns,
    control,
    counts,
    duels,
    fields,
    latents,
    letters,
    likeness,
    pictures,
    relations,
    scenes,
    sounds,
    students,
    texts,
    translation,
)
from programs.mailbag import (
    coins,
    condensates,
    counterfeits,
    couplets,
    entities,
    equations,
    gauges,
    gears,
    headlines,
    invoices,
    parcels,
    pennants,
    phrasebooks,
    relatives,
    stains,
    storytellers,
    tiles,
    wagers,
)
from programs.program import Fault, Program
from programs.unseen import (
    baskets,
    boxes,
    codebooks,
    experts,
    heartbeats,
    households,
    lifetimes,
    meters,
    orbits,
    strokes,
    voices,
)
from programs.workshop import (
    cameras,
    curves,
    errands,
    estimates,
    forgers,
    ledgers,
    outlines,
    readers,
    rollouts,
    schedules,
    spelling,
    squeezes,
    swells,
    tuning,
    twins,
    writers,
)

HELD_OUT_KINDS: tuple[ModuleType, ...] = (
    *(pictures, scenes, counts, sounds, texts, letters, translation, columns),
    *(fields, latents, duels, likeness, students, relations, control),
)
UNSEEN_KINDS: tuple[ModuleType, ...] = (
    *(heartbeats, strokes, voices, meters, boxes, codebooks),
    *(lifetimes, households, baskets, experts, orbits),
)
FORUM_KINDS: tuple[ModuleType, ...] = (recurrent, gpt, gans, regression, optimizers, vision, masks)
WORKSHOP_KINDS: tuple[ModuleType, ...] = (
    *(swells, rollouts, spelling, readers, writers, schedules, tuning),
    *(forgers, squeezes, curves, estimates, cameras, outlines, twins, errands, ledgers),
)
MAILBAG_KINDS: tuple[ModuleType, ...] = (
    *(couplets, gauges, headlines, entities, phrasebooks, storytellers),
    *(counterfeits, condensates, invoices, relatives, wagers, equations),
    *(pennants, tiles, stains, coins, gears, parcels),
)
KINDS: tuple[ModuleType, ...] = (
    *(images, marks, tables, pixels, tokens, sequences, codes, adversaries, pairs, graphs, actions),
    *HELD_OUT_KINDS,
    *UNSEEN_KINDS,
    *FORUM_KINDS,
    *WORKSHOP_KINDS,
    *MAILBAG_KINDS,
)


def kind_of(module: ModuleType) -> str:
    """The name of a kind of task."""
    return module.__name__.rpartition(".")[2]


SOUND: dict[str, Program] = {name: program for kind in KINDS for name, program in kind.SOUND.items()}
FAULTS: dict[str, Fault] = {name: fault for kind in KINDS for name, fault in kind.FAULTS.items()}
KIND: dict[str, str] = {name: kind_of(kind) for kind in KINDS for name in (*kind.SOUND, *kind.FAULTS)}
HELD_OUT: frozenset[str] = frozenset(name for kind in HELD_OUT_KINDS for name in (*kind.SOUND, *kind.FAULTS))
UNSEEN: frozenset[str] = frozenset(name for kind in UNSEEN_KINDS for name in (*kind.SOUND, *kind.FAULTS))
FORUM: frozenset[str] = frozenset(name for kind in FORUM_KINDS for name in (*kind.SOUND, *kind.FAULTS))
WORKSHOP: frozenset[str] = frozenset(name for kind in WORKSHOP_KINDS for name in (*kind.SOUND, *kind.FAULTS))
MAILBAG: frozenset[str] = frozenset(name for kind in MAILBAG_KINDS for name in (*kind.SOUND, *kind.FAULTS))
PROGRAMS: dict[str, Program] = {**SOUND, **{name: fault.program for name, fault in FAULTS.items()}}
