"""Is every configuration file recognised, and does it survive being read and written?"""

import json

import pytest

from pytest_hsmcluster.client.config import (
    ConfigWarning,
    Sdk3Config,
    Sdk5Config,
    read_config,
    sdk3_config,
    sdk5_config,
    write_config,
)
from pytest_hsmcluster.errors import ConfigError

SDK3_FILES = {
    "default": sdk3_config(hostname="10.0.0.1").text,
    "excerpt of the guide": '{\n    "client": {\n        "create_object_minimum_nodes" : 2\n    }\n}\n',
    "one line": '{"client":{"create_object_minimum_nodes":2},"server":{"hostname":"::1","port":2223}}',
    "all sections empty": '{"ssl":{},"server":{},"loadbalance":{},"dualfactor":{},"client":{}}',
    "unknown everywhere": '{"x":{"y":[1,2.5,{"z":null}]},"client":{"zz":[[]],"zoneid":3,"yy":{"zoneid":"a"}},"w":1}',
    "defaults written out": '{"loadbalance":{"enable":"yes"},"client":{"zoneid":0,"reconnect_attempts":-1}}',
    "odd texts": '{"client":{"CriticalAlertScript":"/opt/Schl\\u00fcssel \\ud800\\n\\"x\\"","log_level":""},"é":"é"}',
    "odd numbers": '{"client":{"workers":123456789012345678901234567890,"own":-0.0,"e":1e-7}}',
    "windows": '{\r\n\t"client": {\r\n\t\t"e2e_owner_crt_path": "C:\\\\ProgramData\\\\Amazon\\\\CloudHSM"\r\n\t}\r\n}',
}

SDK5_FILES = {
    "default": sdk5_config(hostnames=["10.0.0.1", "10.0.0.2"]).text,
    "by id only": '{"clusters":[{"cluster":{"cluster_id":"cluster-1"}}]}',
    "no options": '{"clusters":[{"type": "hsm1","cluster":{"servers":[{"hostname":"a","port":2223,"enable":true}]}}]}',
    "unknown at every level": (
        '{"v":2,"clusters":[{"n":1,"cluster":{"m":{"k":[]},"servers":[{"hostname":"a","az":"b"}],'
        '"options":{"own":[{}],"default_retry_mode":"off"}}}],"logging":{"colour":true}}'
    ),
    "twins": '{"clusters":[{"cluster":{"servers":[{"hostname":"a","x":1},{"hostname":"a","x":2}]}}]}',
    "two clusters": (
        '{"logging":{"log_interval":"weekly"},"clusters":[{"cluster":{"cluster_id":"a"},"type":"hsm2m"},'
        '{"type":"hsm1","cluster":{"servers":[{"hostname":"h.example","enable":false}],"cluster_id":""}}]}'
    ),
}


@pytest.mark.parametrize("text", SDK3_FILES.values(), ids=SDK3_FILES)
def test_a_file_of_sdk3_survives_a_round_trip(text, tmp_path):
    """Read, written and read again it is equal; written twice it is the same bytes; no value and no order changed."""
    _round_trip(text, tmp_path, Sdk3Config)


@pytest.mark.parametrize("text", SDK5_FILES.values(), ids=SDK5_FILES)
def test_a_file_of_sdk5_survives_a_round_trip(text, tmp_path):
    """Read, written and read again it is equal; written twice it is the same bytes; no value and no order changed."""
    _round_trip(text, tmp_path, Sdk5Config)


def _round_trip(text, folder, kind):
    first = folder / "first.cfg"
    first.write_bytes(text.encode())
    config = read_config(first)
    assert type(config) is kind
    second = write_config(config, folder / "second.cfg")
    assert json.dumps(json.loads(second.read_text("utf-8"))) == json.dumps(json.loads(text))
    again = read_config(second)
    assert again == config
    assert write_config(again, folder / "third.cfg").read_bytes() == second.read_bytes()
    assert first.read_bytes() == text.encode()


@pytest.mark.parametrize("name", ["a.json", "cloudhsm-pkcs11.cfg", "cloudhsm_client.cfg"])
def test_the_shape_decides_whatever_the_name(name, tmp_path):
    """Teams rename files; what is in them does not lie."""
    for text, kind in [(SDK3_FILES["default"], Sdk3Config), (SDK5_FILES["default"], Sdk5Config)]:
        (tmp_path / name).write_text(text)
        assert type(read_config(str(tmp_path / name))) is kind


def test_the_name_decides_where_the_shape_is_silent(tmp_path):
    """An empty `cloudhsm_client.cfg` is all defaults; an empty file of SDK 5 has no cluster and is refused."""
    (tmp_path / "cloudhsm_client.cfg").write_text("{}")
    assert read_config(tmp_path / "cloudhsm_client.cfg") == Sdk3Config()
    for component in ("pkcs11", "cli", "jce", "dyn", "openssl-provider"):
        (tmp_path / f"cloudhsm-{component}.cfg").write_text("{}")
        with pytest.raises(ConfigError, match="clusters is missing or empty"):
            read_config(tmp_path / f"cloudhsm-{component}.cfg")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "is no configuration of a client: SDK 3 has sections client, dualfactor, loadbalance, server, ssl"),
        ('{"cluster": []}', 'SDK 5 has clusters; did you mean "clusters" where it says "cluster"?'),
        ('{"own": 1, "sever": {}}', 'did you mean "server" where it says "sever"?'),
        ('{"clusters": [], "client": {}}', 'has both "clusters" of SDK 5 and "client" of SDK 3'),
        ('{"servers": [], "scard": {}}', "is a cloudhsm_mgmt_util.cfg, which configures a tool and no client"),
        ("", "is empty"),
        ("{", "line 1, column 2: not JSON"),
    ],
)
def test_a_file_of_no_client_is_refused(text, complaint, tmp_path):
    """The message says what would be one, and what was probably meant."""
    file = tmp_path / "some.cfg"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_config(file)
    assert str(refused.value).startswith(str(file))
    assert complaint in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    """With its whole path, so that one sees which folder was meant."""
    with pytest.raises(ConfigError, match=f"^{tmp_path}/cloudhsm_client.cfg: there is no such file$"):
        read_config(tmp_path / "cloudhsm_client.cfg")


def test_each_doubt_is_a_warning_of_its_own(tmp_path):
    """One slip does not hide the next."""
    file = tmp_path / "cloudhsm_client.cfg"
    file.write_text('{"client": {"zone_id": 1, "create_object_minimum_nodes": 2}, "servers": {}}')
    with pytest.warns(ConfigWarning) as caught:
        read_config(file, hsms=2)
    assert [str(warning.message).removeprefix(f"{file}: ").split()[0] for warning in caught] == [
        "client.zone_id",
        "servers",
        "client.create_object_minimum_nodes",
    ]
