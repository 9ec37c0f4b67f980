"""JSON-RPC and HTTP: envelopes, errors and limits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from gateway.errors import CODES, InvalidParameter, RpcError, code_of
from gateway.methods import METHODS
from gateway.settings import GatewaySettings
from schemas.errors import Gone, InvalidTransaction, InvariantViolation, ParsecError, QueueFull, Unavailable
from tests.rpc_node import RpcNode


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RpcNode]:
    settings = GatewaySettings(batch_max=3, depth_max=6, body_bytes_max=2_000, answer_bytes_max=300)
    found = RpcNode(tmp_path / "index", settings)
    yield found
    found.close()


def post(node: RpcNode, body: Any) -> Any:
    """What is answered to a body, bytes or JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = node.http.post("/", content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 204)
    return answer.json() if answer.content else None


def request(method: str = "eth_chainId", identity: Any = 1, **more: Any) -> dict[str, Any]:
    """A request."""
    return {"jsonrpc": "2.0", "id": identity, "method": method} | more


@pytest.mark.parametrize(
    ("body", "code", "identity"),
    [
        (b"{", -32700, None),
        (b"", -32700, None),
        (b"\xff", -32700, None),
        (b"[" * 500 + b"]" * 500, -32700, None),
        (b'{"id":1,"jsonrpc":"2.0","method":"eth_chainId","params":' + b"[" * 6 + b"]" * 6 + b"}", -32700, None),
        (b"7", -32600, None),
        (b"[]", -32600, None),
        (b"[1,2,3,4]", -32600, None),
        (b'{"id":1,"method":"eth_chainId"}', -32600, 1),
        (b'{"id":1,"jsonrpc":"1.0","method":"eth_chainId"}', -32600, 1),
        (b'{"id":1,"jsonrpc":"2.0"}', -32600, 1),
        (b'{"id":1,"jsonrpc":"2.0","method":7}', -32600, 1),
        (b'{"id":{},"jsonrpc":"2.0","method":"eth_chainId"}', -32600, None),
        (b'{"id":true,"jsonrpc":"2.0","method":"eth_chainId"}', -32600, None),
        (b'{"id":"x","jsonrpc":"2.0","method":"eth_nothing"}', -32601, "x"),
        (b'{"id":1,"jsonrpc":"2.0","method":"eth_chainId","params":{}}', -32602, 1),
        (b'{"id":1,"jsonrpc":"2.0","method":"eth_chainId","params":[1]}', -32602, 1),
        (b'{"id":1,"jsonrpc":"2.0","method":"eth_getBalance","params":[]}', -32602, 1),
    ],
)
def test_what_is_no_request_gets_its_code(node: RpcNode, body: bytes, code: int, identity: Any) -> None:
    answer = post(node, body)
    assert answer["error"]["code"] == code
    assert answer["id"] == identity
    assert answer["jsonrpc"] == "2.0"


@pytest.mark.parametrize("identity", [0, 7, "seven", None, 1.5])
def test_the_id_comes_back(node: RpcNode, identity: Any) -> None:
    assert post(node, request(identity=identity)) == {"jsonrpc": "2.0", "id": identity, "result": "0xcbdc"}


@pytest.mark.parametrize("params", [[], None])
def test_params_may_be_left_out(node: RpcNode, params: Any) -> None:
    assert post(node, request(params=params))["result"] == post(node, request())["result"]


def test_a_batch_is_answered_in_order_without_its_notifications(node: RpcNode) -> None:
    notification = {"jsonrpc": "2.0", "method": "eth_chainId"}
    answers = post(node, [request(identity="a"), notification, request("eth_nothing", "b")])
    assert [answer["id"] for answer in answers] == ["a", "b"]
    assert answers[1]["error"]["code"] == -32601
    assert post(node, notification) is None
    assert post(node, [notification, notification]) is None
    assert [answer["error"]["code"] for answer in post(node, [1, {}])] == [-32600, -32600]


def test_answers_to_a_batch_are_limited(node: RpcNode) -> None:
    big = request("eth_getBlockByNumber", params=["0x0", False])
    answers = post(node, [big, big, big])
    assert "result" in answers[0]
    assert [answer["error"]["code"] for answer in answers[1:]] == [-32003, -32003]


def test_a_parameter_is_named_when_it_is_wrong(node: RpcNode) -> None:
    assert node.error("eth_getBalance", "0x12") == (
        -32602, "invalid parameter 0, address: an address of 1 bytes; it has 20")
    assert node.error("eth_getBalance") == (-32602, "missing parameter 0, address")
    assert node.error("eth_getBalance", "0x" + "11" * 20, "newest")[1].startswith("invalid parameter 1, block: 'newest'")
    assert node.error("web3_sha3", "0x123")[1].startswith("invalid parameter 0, data")
    assert node.error("eth_getLogs", {"topics": ["0x00"]})[1] == (
        "invalid parameter 0, filter: topics: a hash of 1 bytes; it has 32")
    assert node.error("eth_chainId", 1) == (-32602, "too many parameters: 1, eth_chainId takes 0")


def test_bodies_are_limited_and_have_to_be_json(node: RpcNode) -> None:
    headers = {"content-type": "application/json"}
    assert node.http.post("/", content=b" " * 2_001, headers=headers).status_code == 413
    assert node.http.post("/", content=iter([b" " * 1_500, b" " * 1_500]), headers=headers).status_code == 413
    assert node.http.post("/", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert node.http.post("/", content=b"{}").status_code == 415
    assert node.http.post("/", content=b"{}", headers={"content-type": "application/json; charset=utf-8"}).status_code == 200
    assert node.http.get("/").status_code == 405


def test_health(node: RpcNode) -> None:
    assert (node.http.get("/healthz").status_code, node.http.get("/healthz").json()) == (200, {"status": "True"})
    node.healthy = False
    assert node.http.get("/healthz").status_code == 503


def preflight(http: TestClient, origin: str) -> Any:
    """What a browser asks before it lets a page send a request."""
    return http.options(
        "/", headers={"origin": origin, "access-control-request-method": "POST",
                      "access-control-request-headers": "content-type"})


def test_pages_may_call_only_with_a_setting(node: RpcNode, tmp_path: Path) -> None:
    refused = preflight(node.http, "https://dapp.example")
    assert "access-control-allow-origin" not in refused.headers
    allowing = RpcNode(tmp_path / "other", GatewaySettings(cors_origins=("https://dapp.example",)))
    allowed = preflight(allowing.http, "https://dapp.example")
    assert allowed.headers["access-control-allow-origin"] == "https://dapp.example"
    assert "access-control-allow-origin" not in preflight(allowing.http, "https://other.example").headers
    allowing.close()


def test_a_fault_of_ours_is_an_internal_error_without_details(node: RpcNode, caplog: pytest.LogCaptureFixture) -> None:
    node.index.close()
    answer = node.ask("eth_getTransactionReceipt", "0x" + "11" * 32)["error"]
    assert answer["code"] == -32002
    object.__setattr__(node.node, "moments", None)
    code, message = node.error("eth_getBlockByNumber", "latest")
    assert (code, message) == (-32603, "internal error")
    assert "NoneType" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidTransaction("x"), -32000),
        (Gone(3, 7), 4444),
        (QueueFull("x"), -32005),
        (Unavailable("x"), -32002),
        (InvalidParameter("x"), -32602),
        (InvariantViolation("x"), -32603),
        (KeyError("x"), -32603),
    ],
)
def test_codes(error: Exception, code: int) -> None:
    assert code_of(error) == code


def test_every_error_of_the_gateway_has_its_own_line_in_the_table() -> None:
    listed = [kind for kind, _ in CODES]
    assert set(RpcError.__subclasses__()) <= set(listed)
    assert all(issubclass(kind, ParsecError) for kind in listed)
    # The first that fits counts, so a class must not stand behind one that it derives from.
    for position, kind in enumerate(listed):
        assert not [earlier for earlier in listed[:position] if issubclass(kind, earlier)]


def test_methods_describe_themselves() -> None:
    for name, method in METHODS.items():
        assert name == method.name
        assert len(method.description) > 20, name
        assert len({parameter.name for parameter in method.parameters}) == len(method.parameters)
