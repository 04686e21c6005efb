"""Configuration: what is accepted, how it is refused, and the legacy dictionary."""

import dataclasses
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptycho import params
from ptycho.config import ModelConfig, TrainingConfig, update_legacy_dict
from ptycho.errors import ConfigError
from ptycho.study.config import Arm, StudyConfig


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (ModelConfig, {"N": 63}),
        (ModelConfig, {"N": 24}),
        (ModelConfig, {"gridsize": 0}),
        (ModelConfig, {"gridsize": 1.5}),
        (ModelConfig, {"architecture": "unet"}),
        (ModelConfig, {"max_offset": -1.0}),
        (ModelConfig, {"max_offset": float("nan")}),
        (ModelConfig, {"blocks": 0}),
        (ModelConfig, {"steps": 0}),
        (ModelConfig, {"steps": 1.5}),
        (ModelConfig, {"filters": 0}),
        (ModelConfig, {"filters_scale": 0.0}),
        (TrainingConfig, {"nphotons": 0}),
        (TrainingConfig, {"nphotons": float("nan")}),
        (TrainingConfig, {"nphotons": float("inf")}),
        (TrainingConfig, {"loss": "NLL"}),
        (TrainingConfig, {"nepochs": 0}),
        (TrainingConfig, {"nepochs": 2.0}),
        (TrainingConfig, {"batch_size": 0}),
        (TrainingConfig, {"batch_size": 2.5}),
        (TrainingConfig, {"learning_rate": 0.0}),
        (TrainingConfig, {"seed": -1}),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(config, values):
    (name, value), *_ = values.items()
    with pytest.raises(ConfigError, match=f"^{name}=") as caught:
        config(**values)
    assert repr(value) in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_configurations_are_frozen_and_refuse_unknown_names():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().N = 128
    with pytest.raises(TypeError, match="probe_size"):
        ModelConfig(probe_size=64)


@given(N=st.integers(4, 128).map(lambda k: 8 * k), gridsize=st.integers(1, 6), blocks=st.integers(1, 9))
def test_what_is_accepted_is_kept(N, gridsize, blocks):
    config = ModelConfig(N=N, gridsize=gridsize, blocks=blocks)
    assert (config.N, config.gridsize, config.blocks) == (N, gridsize, blocks)
    assert config.channels == gridsize**2


@pytest.mark.parametrize("N", [24, 68, 100, 1032])
def test_other_sizes_are_refused_with_those_that_are_accepted(N):
    with pytest.raises(ConfigError, match=f"^N={N} is not accepted: a multiple of 8 from 32 to 1024$"):
        ModelConfig(N=N)
    with pytest.raises(ConfigError, match=f"^N={N} is not accepted: a multiple of 8 from 32 to 1024$"):
        StudyConfig(N=N)


def test_update_legacy_dict_flattens_and_leaves_what_it_does_not_know():
    cfg = {"probe": "kept", "N": 128}
    update_legacy_dict(cfg, TrainingConfig(model=ModelConfig(N=64, gridsize=3), loss="mae", nphotons=1e4))
    expected = {"probe": "kept", "N": 64, "gridsize": 3, "loss": "mae", "nphotons": 1e4, "architecture": "unrolled"}
    assert expected.items() <= cfg.items()
    assert "model" not in cfg
    update_legacy_dict(cfg, ModelConfig(gridsize=1))  # a model alone leaves the training's keys
    assert cfg["gridsize"] == 1 and cfg["loss"] == "mae"


def test_update_legacy_dict_writes_every_field():
    cfg = {}
    config = TrainingConfig()
    update_legacy_dict(cfg, config)
    flat = dataclasses.asdict(config)
    assert cfg == {**flat.pop("model"), **flat}


def test_legacy_dict_is_empty_until_it_is_written():
    code = "import ptycho.config, ptycho.params; assert ptycho.params.cfg == {}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert isinstance(params.cfg, dict)


@pytest.mark.parametrize(
    ("arm", "name", "asked"),
    [
        (Arm("1e9", "nll"), "high_nll", 1e9),
        (Arm("1e4", "mae"), "low_mae", 1e4),
        (Arm("1e6", "nll"), "1e6_nll", 1e6),
        (Arm("2.5e6", "nll"), "2.5e6_nll", 2.5e6),
        (Arm("full", "mae"), "full_mae", None),
    ],
)
def test_arms_are_named_by_dose_and_loss(arm, name, asked):
    assert (arm.name, arm.asked) == (name, asked)


def test_the_default_study_has_four_arms():
    assert [arm.name for arm in StudyConfig().arms] == ["high_nll", "high_mae", "low_nll", "low_mae"]
    assert StudyConfig.from_strings({}) == StudyConfig()


def test_words_of_the_makefile():
    study = StudyConfig.from_strings(
        {"NEPOCHS": "50", "N": "128", "GRIDSIZE": "1", "DOSES": "1e9  1e6 1e4", "LOSSES": "nll", "ARCH": "cnn"}
        | {"PHASE": "1", "SCAN": "", "SEED": " 7 ", "N_TRAIN": "100", "N_TEST": "50", "LEARNING_RATE": "2e-3"}
        | {"OBJECT": "siemens", "OBJECT_SIZE": "392", "ILLUMINATION": "zone_plate"}
    )
    first = (50, 128, 1, 100, 50, ("1e9", "1e6", "1e4"), ("nll",), 7, "cnn", "same", 2e-3)
    first += ("siemens", 392, 1.0, "zone_plate", "none")
    assert study == StudyConfig(*first, None, ("cnn", "direct"))
    assert len(study.arms) == 3


def test_a_measured_scan_brings_its_own_defaults():
    study = StudyConfig.from_strings({"SCAN": "siemens-star"})
    assert study.doses == ("full", "1e4") and study.N is None
    assert study.architecture == "denoiser" and study.methods == ("denoiser", "direct")
    assert StudyConfig.from_strings({"SCAN": "siemens-star", "ARCH": "unrolled"}).methods == ("unrolled", "direct")
    assert StudyConfig.from_strings({"SCAN": "scan.npz", "DOSES": "1e5"}).doses == ("1e5",)


@pytest.mark.parametrize("word", ["GRIDSIZE=1", "PROBE=trainable", "TARGET=split"])
def test_what_is_of_groups_is_not_asked_of_a_network_of_the_whole_scan(word):
    name, value = word.split("=")
    with pytest.raises(ConfigError, match=f"^{name}=.* is not accepted: it is of networks that see groups"):
        StudyConfig.from_strings({"ARCH": "denoiser", name: value})
    assert StudyConfig.from_strings({"ARCH": "unrolled", "SCAN": "siemens-star", name: value})


@pytest.mark.parametrize(
    "word",
    [
        *("OBJECT=grf", "OBJECT_SIZE=300", "PHASE=1", "ILLUMINATION=gaussian"),
        *("N_TRAIN=500", "N_TEST=500", "N=128", "N=64"),
    ],
)
def test_what_is_simulated_is_not_asked_of_a_measured_scan(word):
    name, value = word.split("=")
    with pytest.raises(ConfigError, match=f"^{name}=.* is not accepted: it is of a simulated scan, and SCAN names"):
        StudyConfig.from_strings({"SCAN": "siemens-star", name: value})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"VOLTAGE": "80000"}, "VOLTAGE=80000.0 is not accepted: kilovolts, 5 to 3000"),
        ({"VOLTAGE": "80", "SEMI_ANGLE": "0.025"}, "SEMI_ANGLE=0.025 is not accepted: milliradians, 1 to 200"),
        ({"VOLTAGE": "80", "STEP": "1e-10"}, "STEP=1e-10 is not accepted: angstrom, 0.01 to 10000"),
        ({"VOLTAGE": "80", "STEP": "6"}, "STEP=6.0 is not accepted: a probe 10 angstrom wide takes 5 angstrom at most"),
        ({"VOLTAGE": "80", "DEFOCUS": "80"}, "DEFOCUS=80.0 is not accepted: a probe 40 angstrom wide; at this voltage"),
        (
            {"VOLTAGE": "80", "PHASE": "1"},
            "PHASE=1.0 is not accepted: it is of a simulated scan of photons, and VOLTAGE",
        ),
        ({"VOLTAGE": "80", "SCAN": "a.h5"}, "VOLTAGE=80.0 is not accepted: it is of a simulated scan, and SCAN names"),
        ({"STEP": "0.5"}, "STEP=0.5 is not accepted: it is of a simulated scan of electrons, which VOLTAGE asks for"),
        ({"MATERIAL": "H2O"}, "MATERIAL='H2O' is not accepted: it is of a measured scan, which SCAN names"),
        ({"SCAN": "a.h5", "DAMAGE": "0"}, "DAMAGE=0.0 is not accepted: a dose > 0"),
    ],
)
def test_a_parameter_of_another_kind_of_study_or_in_another_unit_is_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        StudyConfig.from_strings(words)
    assert str(caught.value).startswith(message)


def test_a_study_of_electrons_brings_its_own_doses():
    assert StudyConfig.from_strings({"VOLTAGE": "80"}).doses == ("1e4", "1e2")
    assert StudyConfig.from_strings({"VOLTAGE": "30", "DOSES": "1e0"}).doses == ("1e0",)
    study = StudyConfig(voltage=80.0)
    assert study.learning_rates("nll") == StudyConfig(phase=1.0).learning_rates("nll")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("NEPOCHS", "0"),
        ("NEPOCHS", "five"),
        ("NEPOCHS", "2.5"),
        ("NEPOCHS", "100000"),
        ("N", "100"),
        ("GRIDSIZE", "0"),
        ("GRIDSIZE", "9"),
        ("N_TRAIN", "3"),
        ("N_TEST", "-1"),
        ("DOSES", "1e4 1e4"),
        ("DOSES", "10000"),
        ("DOSES", "1E4"),
        ("DOSES", "0e4"),
        ("DOSES", "../1e4"),
        ("DOSES", "full"),
        ("DOSES", "1e4,1e9"),
        ("LOSSES", "nll l1"),
        ("LOSSES", "nll nll"),
        ("SEED", "-1"),
        ("ARCH", "transformer"),
        ("PHASE", "4"),
        ("PHASE", "nan"),
        ("LEARNING_RATE", "0"),
        ("LEARNING_RATE", "nan"),
        ("OBJECT", "line"),
        ("OBJECT_SIZE", "100"),
        ("OBJECT_SIZE", "256.5"),
        ("ILLUMINATION", "pencil"),
        ("NEPOCH", "5"),
    ],
)
def test_a_wrong_word_is_refused_by_its_name(name, word):
    with pytest.raises(ConfigError, match=f"^{name}=") as caught:
        StudyConfig.from_strings({name: word})
    assert "\n" not in str(caught.value)


@given(dose=st.text("0123456789.e+-/ full", max_size=8))
def test_a_dose_is_a_number_of_photons_and_a_safe_file_name(dose):
    try:
        (arm, *_) = StudyConfig(doses=(dose,)).arms
    except ConfigError:
        return
    assert arm.asked >= 1 and "/" not in arm.name and " " not in arm.name


@pytest.mark.parametrize("spelling", ["1e4", "10e3", "1.0e4", "1e04", "1e+4", "low"])
def test_trap_an_arm_missing_unnoticed_because_two_share_a_folder(spelling):
    """A dose is written in one way only, and arms are named by it: no two arms write to one place."""
    with pytest.raises(ConfigError, match=r"^DOSES="):
        StudyConfig(doses=("1e4", spelling))
