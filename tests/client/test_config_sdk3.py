"""Does SDK 3's file mean what the service's documentation says it means?"""

import dataclasses
import json

import pytest

from pytest_hsmcluster.client.config import ConfigWarning, Sdk3Config, read_config, sdk3_config, write_config
from pytest_hsmcluster.errors import ConfigError, UsageError


def _file(folder, content, name="cloudhsm_client.cfg"):
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_the_default_file_is_complete():
    """Every documented section and key is there, in order, with its documented value."""
    document = json.loads(sdk3_config(hostname="10.10.4.20").text)
    assert {section: list(keys) for section, keys in document.items()} == {
        "client": [
            "CriticalAlertScript",
            "create_object_minimum_nodes",
            "daemon_id",
            "e2e_owner_crt_path",
            "enable_3des_key_reuse",
            "log_level",
            "reconnect_attempts",
            "reconnect_interval",
            "socket_type",
            "sslreneg",
            "tcp_port",
            "workers",
            "zoneid",
        ],
        "dualfactor": ["certificate", "dualfactor_ch_ssl_ciphers", "dualfactor_ssl", "enable", "pkey", "port"],
        "loadbalance": ["enable", "prefer_same_zone", "relative_idleness_weight", "sucess_rate_weight"],
        "server": ["hostname", "port"],
        "ssl": ["CApath", "certificate", "pkey", "server_ch_ssl_ciphers", "server_ssl"],
    }
    assert document["client"]["create_object_minimum_nodes"] == 1
    assert document["client"]["reconnect_attempts"] == -1
    assert document["client"]["reconnect_interval"] == 3
    assert document["loadbalance"]["prefer_same_zone"] == "no"
    assert document["server"] == {"hostname": "10.10.4.20", "port": 2223}


def test_every_typed_value_reaches_the_file_and_comes_back(tmp_path):
    """What is asked for is what stands in the file under its documented key, and what is read."""
    asked = sdk3_config(
        hostname="hsm.example",
        port=2224,
        create_object_minimum_nodes=2,
        reconnect_interval_s=7,
        reconnect_attempts=5,
        zoneid=3,
        loadbalance_enable=False,
        prefer_same_zone=True,
        relative_idleness_weight=4,
        sucess_rate_weight=9,
    )
    document = json.loads(asked.text)
    assert document["client"]["create_object_minimum_nodes"] == 2
    assert document["client"]["reconnect_interval"] == 7
    assert document["client"]["reconnect_attempts"] == 5
    assert document["client"]["zoneid"] == 3
    assert document["loadbalance"] == {
        "enable": "no",
        "prefer_same_zone": "yes",
        "relative_idleness_weight": 4,
        "sucess_rate_weight": 9,
    }
    assert document["server"] == {"hostname": "hsm.example", "port": 2224}
    assert read_config(write_config(asked, tmp_path / "cloudhsm_client.cfg")) == asked


def test_an_absent_minimum_is_one(tmp_path):
    """The documented default holds also when the file does not have the key; nothing is added to the file."""
    config = read_config(_file(tmp_path, {"client": {"log_level": "INFO"}}), hsms=3)
    assert config.create_object_minimum_nodes == 1
    assert config.server_hostname is None
    assert json.loads(config.text) == {"client": {"log_level": "INFO"}}


def test_one_changed_value_changes_one_value(tmp_path):
    """`dataclasses.replace` changes what was asked; unknown keys, order and all other values stay."""
    document = {
        "later": {"z": [1, {"y": None}], "a": 0.5},
        "client": {"zz": 1, "create_object_minimum_nodes": 1, "aa": 2},
        "loadbalance": {"prefer_same_zone": "no", "own": "x"},
    }
    read = read_config(_file(tmp_path, document))
    changed = dataclasses.replace(read, create_object_minimum_nodes=2, prefer_same_zone=True, zoneid=4)
    document["client"].update(create_object_minimum_nodes=2, zoneid=4)
    document["loadbalance"]["prefer_same_zone"] = "yes"
    assert changed.text == json.dumps(document, indent=4) + "\n"
    assert dataclasses.replace(changed, create_object_minimum_nodes=1, prefer_same_zone=False, zoneid=0) != read
    assert dataclasses.replace(read, server_hostname="10.0.0.9").server_hostname == "10.0.0.9"


def test_a_host_name_can_be_taken_out():
    """None is what a file without the key gives, so it takes the key out."""
    config = dataclasses.replace(sdk3_config(hostname="10.0.0.1"), server_hostname=None)
    assert json.loads(config.text)["server"] == {"port": 2223}


def test_a_bare_configuration_has_only_what_differs():
    """The defaults need no file."""
    assert Sdk3Config().text == "{}\n"
    assert json.loads(Sdk3Config(create_object_minimum_nodes=2).text) == {"client": {"create_object_minimum_nodes": 2}}
    assert Sdk3Config().create_object_minimum_nodes == 1
    assert hash(Sdk3Config()) == hash(Sdk3Config())
    with pytest.raises(dataclasses.FrozenInstanceError):
        Sdk3Config().zoneid = 1


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("client", "create_object_minimum_nodes", 0, "an integer, 1…28, and not above the number of HSMs"),
        ("client", "create_object_minimum_nodes", 29, "1…28"),
        ("client", "create_object_minimum_nodes", True, "an integer"),
        ("client", "create_object_minimum_nodes", 2.0, "an integer"),
        ("client", "create_object_minimum_nodes", "2", "an integer"),
        ("client", "create_object_minimum_nodes", None, "an integer"),
        ("client", "reconnect_attempts", -2, "an integer, -1 or more (-1: endless)"),
        ("client", "reconnect_interval", 0, "an integer, 1 or more (seconds)"),
        ("client", "zoneid", "a", "an integer, 0 or more"),
        ("client", "tcp_port", 65536, "an integer, 1…65535"),
        ("client", "log_level", 3, "a text"),
        ("client", "enable_3des_key_reuse", False, '"yes" or "no"'),
        ("loadbalance", "enable", "Yes", '"yes" or "no"'),
        ("loadbalance", "prefer_same_zone", True, '"yes" or "no"'),
        ("loadbalance", "sucess_rate_weight", -1, "an integer, 0 or more"),
        ("server", "hostname", "10.0.0.1,10.0.0.2", "one host name or IP address"),
        ("server", "hostname", "", "one host name or IP address"),
        ("server", "port", "2223", "an integer, 1…65535"),
        ("dualfactor", "enable", [], '"yes" or "no"'),
        ("ssl", "CApath", {}, "a text"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(tmp_path, section, key, value, allowed):
    """The message has file, key, value and what is allowed, and the file is as it was."""
    file = _file(tmp_path, {section: {key: value}})
    before = file.read_bytes()
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    shown = {"[]": "an array", "{}": "an object"}.get(json.dumps(value), json.dumps(value))
    assert str(refused.value).startswith(f"{file}: {section}.{key} is {shown}; allowed: ")
    assert allowed in str(refused.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize("section", ["client", "dualfactor", "loadbalance", "server", "ssl"])
@pytest.mark.parametrize("value", [None, 1, "x", [], [{}]])
def test_a_section_that_is_no_object_is_refused(tmp_path, section, value):
    """A section is an object and nothing else."""
    with pytest.raises(ConfigError, match=rf"{section} is .*; allowed: an object"):
        read_config(_file(tmp_path, {section: value}))


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path):
    """Nobody has to run ten times to find ten mistakes."""
    file = _file(
        tmp_path,
        '{"client": {"create_object_minimum_nodes": 0, "zoneid": -1, "x": 1, "x": 2}, "server": {"port": true}}',
    )
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    first, *lines = str(refused.value).splitlines()
    assert first == f"{file} has 4 mistakes:"
    assert [line.split()[0] for line in lines] == [
        "client.x",
        "client.create_object_minimum_nodes",
        "client.zoneid",
        "server.port",
    ]


def test_the_number_of_hsms_limits_the_minimum(tmp_path):
    """Above it is refused with the range, equal is doubted, below is fine; without HSMs the quota is the limit."""
    file = _file(tmp_path, {"client": {"create_object_minimum_nodes": 3}})
    assert read_config(file).create_object_minimum_nodes == 3
    assert read_config(file, hsms=4).create_object_minimum_nodes == 3
    with pytest.warns(
        ConfigWarning, match=r"cloudhsm_client\.cfg: client\.create_object_minimum_nodes is 3, every HSM"
    ):
        assert read_config(file, hsms=3).create_object_minimum_nodes == 3
    with pytest.raises(
        ConfigError, match=r"client\.create_object_minimum_nodes is 3; allowed: an integer, 1…2, the number of HSMs$"
    ):
        read_config(file, hsms=2)


@pytest.mark.parametrize(
    ("document", "doubt"),
    [
        (
            {"client": {"create_object_minimum_node": 2}},
            (
                "client.create_object_minimum_node is unknown, kept and has no effect; "
                "did you mean client.create_object_minimum_nodes?"
            ),
        ),
        ({"client": {"create-object-minimum-nodes": 2}}, "did you mean client.create_object_minimum_nodes?"),
        ({"client": {"Create_Object_Minimum_Nodes": 2}}, "did you mean client.create_object_minimum_nodes?"),
        ({"loadbalance": {"success_rate_weight": 2}}, "did you mean loadbalance.sucess_rate_weight?"),
        (
            {"server": {"create_object_minimum_nodes": 2}},
            (
                "server.create_object_minimum_nodes is kept and has no effect here; "
                "its place is client.create_object_minimum_nodes"
            ),
        ),
        ({"client": {}, "zoneid": 2}, "zoneid is kept and has no effect here; its place is client.zoneid"),
        ({"clients": {"zoneid": 2}}, "clients is unknown, kept and has no effect; did you mean client?"),
    ],
)
def test_a_slip_in_a_key_is_doubted_and_kept(tmp_path, document, doubt):
    """The real daemon ignores such a key in silence, and a team believes in a setting that it does not have."""
    with pytest.warns(ConfigWarning) as caught:
        config = read_config(_file(tmp_path, document))
    assert len(caught) == 1
    assert str(caught[0].message).endswith(doubt)
    assert caught[0].filename == __file__
    assert json.loads(config.text) == document
    assert config.create_object_minimum_nodes == 1


def test_an_unknown_key_that_looks_like_none_is_no_news(tmp_path, recwarn):
    """Files of other versions have keys that we do not know; names that stand in several sections are no hint."""
    read_config(_file(tmp_path, {"client": {"fips_mode": 1, "port": 3}, "own": {"zoneid": 1}, "dualclient": {}}))
    assert len(recwarn) == 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"create_object_minimum_nodes": 0}, "client.create_object_minimum_nodes is 0"),
        ({"create_object_minimum_nodes": True}, "client.create_object_minimum_nodes is true"),
        ({"server_port": 2223.0}, "server.port is 2223.0"),
        ({"prefer_same_zone": 1}, "loadbalance.prefer_same_zone is 1"),
        ({"loadbalance_enable": None}, "loadbalance.enable is null"),
        ({"server_hostname": object}, "server.hostname is "),
    ],
)
def test_a_field_that_is_not_allowed_is_refused_without_a_file_too(change, complaint):
    """Arguments are held to the same rules as files."""
    with pytest.raises(UsageError) as refused:
        Sdk3Config(**change)
    assert f"Sdk3Config: {complaint}" in str(refused.value)
    with pytest.raises(ConfigError):
        dataclasses.replace(sdk3_config(hostname="h"), **change)


def test_the_repr_does_not_pour_out_the_file():
    """The typed values are enough to read."""
    assert "customerCA" not in repr(sdk3_config(hostname="h"))
