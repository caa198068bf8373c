"""A list of physics inside another, as lists of Geant4's factory are used; runs in a process of its own."""

from mode_opt.detectors.geant4_calorimeter import program


def calorimeter_of_a_list_within(design, primaries, events, seed, **arguments):
    program._physics = lambda g4, name: program._within(g4, program._ionisation(g4))
    return program.Calorimeter(**arguments)(design, primaries, events, seed)
