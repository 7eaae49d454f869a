"""Does the file of an SDK 5 component mean what is known of it?"""

import dataclasses
import json

import pytest

from pytest_hsmcluster.client.config import (
    ConfigWarning,
    Sdk5Config,
    Server,
    read_config,
    sdk5_config,
    write_config,
)
from pytest_hsmcluster.errors import ConfigError, UsageError


def _file(folder, content, name="cloudhsm-pkcs11.cfg"):
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def _one(**cluster):
    return {"clusters": [{"type": "hsm1", "cluster": {"servers": [{"hostname": "10.0.0.1"}], **cluster}}]}


TWO_CLUSTERS = {
    "clusters": [
        {"type": "hsm1", "cluster": {"cluster_id": "cluster-a", "servers": [{"hostname": "10.0.0.1", "port": 2223}]}},
        {
            "type": "hsm2m",
            "label": "second",
            "cluster": {
                "cluster_id": "cluster-b",
                "servers": [
                    {"hostname": "10.0.1.1", "port": 1, "enable": False, "note": "x"},
                    {"hostname": "10.0.1.1", "port": 2},
                ],
                "options": {"disable_key_availability_check": True, "own": 1},
            },
        },
    ],
    "logging": {"log_type": "term", "log_level": "trace"},
}


def test_the_default_file_is_complete():
    """The file that `configure-pkcs11` leaves, as four independent reports show it."""
    assert json.loads(sdk5_config(hostnames=["10.0.0.1", "10.0.0.2"]).text) == {
        "clusters": [
            {
                "type": "hsm1",
                "cluster": {
                    "hsm_ca_file": "/opt/cloudhsm/etc/customerCA.crt",
                    "servers": [
                        {"hostname": "10.0.0.1", "port": 2223, "enable": True},
                        {"hostname": "10.0.0.2", "port": 2223, "enable": True},
                    ],
                    "options": {"disable_key_availability_check": False},
                },
            }
        ],
        "logging": {
            "log_type": "file",
            "log_file": "/opt/cloudhsm/run/cloudhsm-pkcs11.log",
            "log_level": "info",
            "log_interval": "daily",
        },
    }


def test_every_typed_value_reaches_the_file_and_comes_back(tmp_path):
    """What is asked for is what stands in the file, and what is read."""
    asked = sdk5_config(
        hostnames=("a", "b"),
        port=2225,
        disable_key_availability_check=True,
        default_retry_mode="off",
        cluster_id="cluster-1",
        hsm_type="hsm2m",
        log_type="term",
        log_file="x.log",
        log_level="trace",
        log_interval="never",
    )
    (entry,) = json.loads(asked.text)["clusters"]
    assert entry["type"] == "hsm2m"
    assert entry["cluster"]["cluster_id"] == "cluster-1"
    assert entry["cluster"]["options"] == {"disable_key_availability_check": True, "default_retry_mode": "off"}
    assert asked.servers == (Server("a", 2225), Server("b", 2225))
    assert read_config(write_config(asked, tmp_path / "cloudhsm-cli.cfg")) == asked


def test_what_a_file_does_not_say_is_the_default(tmp_path):
    """The availability check is on and throttled calls are retried unless the file says otherwise."""
    config = read_config(_file(tmp_path, _one()))
    assert config.disable_key_availability_check is False
    assert config.default_retry_mode == "standard"
    assert config.hsm_type == "hsm1"
    assert config.cluster_id is None
    assert config.log_file is None
    assert config.servers == (Server("10.0.0.1", 2223, True),)
    assert json.loads(config.text) == _one()


def test_each_entry_of_a_file_of_several_clusters_can_be_looked_at_and_changed(tmp_path):
    """A slot is an entry; what is changed for one leaves the other as it was."""
    config = read_config(_file(tmp_path, TWO_CLUSTERS))
    assert config.cluster_ids == ("cluster-a", "cluster-b")
    assert (config.cluster_id, config.hsm_type, config.entry) == ("cluster-a", "hsm1", 0)
    assert config.disable_key_availability_check is False
    second = config.at(1)
    assert (second.cluster_id, second.hsm_type, second.log_type) == ("cluster-b", "hsm2m", "term")
    assert second.disable_key_availability_check is True
    assert second.servers == (Server("10.0.1.1", 1, False), Server("10.0.1.1", 2))
    assert second.text == config.text
    changed = dataclasses.replace(second, disable_key_availability_check=False)
    expected = json.loads(json.dumps(TWO_CLUSTERS))
    expected["clusters"][1]["cluster"]["options"]["disable_key_availability_check"] = False
    assert json.loads(changed.text) == expected
    assert changed.at(0) == dataclasses.replace(config, text=changed.text)
    for nowhere in (2, -1, True, "0"):
        with pytest.raises(UsageError, match=r"there is no entry .* of clusters; allowed: 0…1"):
            config.at(nowhere)


def test_a_server_that_stays_keeps_its_unknown_keys(tmp_path):
    """Servers are known by address: the note goes with its server, not with its position."""
    config = read_config(_file(tmp_path, TWO_CLUSTERS)).at(1)
    moved = dataclasses.replace(config, servers=(Server("10.0.9.9"), *reversed(config.servers)))
    assert json.loads(moved.text)["clusters"][1]["cluster"]["servers"] == [
        {"hostname": "10.0.9.9", "port": 2223, "enable": True},
        {"hostname": "10.0.1.1", "port": 2, "enable": True},
        {"hostname": "10.0.1.1", "port": 1, "enable": False, "note": "x"},
    ]


def test_the_placeholder_of_an_unconfigured_file_gets_the_error_of_the_sdk(tmp_path):
    """A component that was never configured says so in the SDK's own words."""
    document = _one(servers=[{"hostname": "%%HSM_IP_ADDRESS%%", "port": 2223, "enable": True}])
    with pytest.raises(ConfigError) as refused:
        read_config(_file(tmp_path, document))
    assert 'clusters[0].cluster.servers[0].hostname is "%%HSM_IP_ADDRESS%%"' in str(refused.value)
    assert "Config key hostname has invalid value" in str(refused.value)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (
            _one(options={"disable_key_availability_check": "yes"}),
            'clusters[0].cluster.options.disable_key_availability_check is "yes"; allowed: true or false',
        ),
        (_one(options={"disable_key_availability_check": 1}), "is 1; allowed: true or false"),
        (_one(options={"default_retry_mode": "Standard"}), 'is "Standard"; allowed: "off" or "standard"'),
        (_one(options=None), "clusters[0].cluster.options is null; allowed: an object"),
        (_one(servers={}), "clusters[0].cluster.servers is an object; allowed: an array"),
        (_one(servers=[]), "clusters[0].cluster has neither servers nor a cluster_id"),
        (_one(servers=[{"port": 1}]), "clusters[0].cluster.servers[0].hostname is missing"),
        (_one(servers=["10.0.0.1"]), 'clusters[0].cluster.servers[0] is "10.0.0.1"; allowed: an object'),
        (_one(servers=[{"hostname": "a", "port": 0}]), "servers[0].port is 0; allowed: an integer, 1…65535"),
        (_one(servers=[{"hostname": "a b"}]), 'hostname is "a b"; allowed: one host name or IP address'),
        (_one(servers=[{"hostname": "a", "enable": "yes"}]), 'enable is "yes"; allowed: true or false'),
        (_one(cluster_id=7), "clusters[0].cluster.cluster_id is 7; allowed: a text"),
        ({"clusters": []}, "clusters is missing or empty"),
        ({"clusters": {}}, "clusters is an object; allowed: an array"),
        ({"clusters": [3]}, "clusters[0] is 3; allowed: an object"),
        ({"clusters": [{"type": "hsm1"}]}, "clusters[0].cluster is missing; allowed: an object"),
        ({"clusters": [{"cluster": []}]}, "clusters[0].cluster is an array; allowed: an object"),
        ({**_one(), "logging": []}, "logging is an array; allowed: an object"),
        ({**_one(), "logging": {"log_level": "INFO"}}, 'logging.log_level is "INFO"; allowed: "error" or "warn" or'),
        ({**_one(), "logging": {"log_interval": 1}}, "logging.log_interval is 1; allowed:"),
        ({"clusters": [{"type": "hsm2m.medium", "cluster": {"cluster_id": "c"}}]}, 'allowed: "hsm1" or "hsm2m"'),
        ({"logging": {}}, "clusters is missing or empty"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(tmp_path, document, complaint):
    """The message has file, key, value and what is allowed, and the file is as it was."""
    file = _file(tmp_path, document)
    before = file.read_bytes()
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert complaint in str(refused.value)
    assert file.read_bytes() == before


def test_mistakes_in_all_clusters_are_told_at_once(tmp_path):
    """The second entry is examined although the first one is wrong."""
    document = {"clusters": [{"type": 1}, {"cluster": {"cluster_id": []}}]}
    with pytest.raises(ConfigError) as refused:
        read_config(_file(tmp_path, document))
    assert [line.split()[0] for line in str(refused.value).splitlines()[1:]] == [
        "clusters[0].type",
        "clusters[1].cluster.cluster_id",
        "clusters[0].cluster",
    ]


@pytest.mark.parametrize(
    ("document", "doubt"),
    [
        (
            _one(disable_key_availability_check=True),
            (
                "clusters[0].cluster.disable_key_availability_check is kept and has no effect here; "
                "its place is clusters[].cluster.options.disable_key_availability_check"
            ),
        ),
        (
            _one(options={"disable_key_availabilty_check": True}),
            "did you mean clusters[0].cluster.options.disable_key_availability_check?",
        ),
        (_one(servers=[{"hostname": "a", "enabled": False}]), "did you mean clusters[0].cluster.servers[0].enable?"),
    ],
)
def test_a_slip_in_a_key_is_doubted_and_kept(tmp_path, document, doubt):
    """A check that is believed to be off and is on is found before the test runs."""
    with pytest.warns(ConfigWarning) as caught:
        config = read_config(_file(tmp_path, document))
    assert [str(warning.message).endswith(doubt) for warning in caught] == [True]
    assert config.disable_key_availability_check is False
    assert json.loads(config.text) == document


def test_arguments_are_held_to_the_rules_of_the_file():
    """The key path tells what is meant, also when there is no file."""
    with pytest.raises(UsageError, match=r"hostnames is the text '10\.0\.0\.1'; allowed: a list"):
        sdk5_config(hostnames="10.0.0.1")
    with pytest.raises(ConfigError, match="has neither servers nor a cluster_id"):
        sdk5_config(hostnames=[])
    with pytest.raises(ConfigError, match=r"servers\[1\]\.hostname is 5; allowed"):
        sdk5_config(hostnames=["a", 5])
    with pytest.raises(ConfigError, match=r"disable_key_availability_check is 1; allowed: true or false"):
        sdk5_config(hostnames=["a"], disable_key_availability_check=1)
    with pytest.raises(ConfigError, match=r"clusters\[0\]\.type is \"hsm2m.medium\""):
        sdk5_config(hostnames=["a"], hsm_type="hsm2m.medium")
    assert Sdk5Config(cluster_id="cluster-1").servers == ()


def test_a_cluster_id_can_be_taken_out():
    """None is what a file without the key gives, so it takes the key out."""
    config = dataclasses.replace(sdk5_config(hostnames=["a"], cluster_id="cluster-1"), cluster_id=None)
    assert config == sdk5_config(hostnames=["a"])
