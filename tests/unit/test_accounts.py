"""Key files and signing."""

import json
import stat
from pathlib import Path

import pytest
from eth_account import Account

from ingest import accounts
from ingest.transactions import decode
from schemas.errors import ConfigurationError
from schemas.rules import Rules

CHEAP = 2


def test_new_key_file(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    file = accounts.new(directory, "secret", iterations=CHEAP)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert file.path.name.startswith("UTC--")
    assert file.path.name.endswith(f"Z--{file.address.hex()}")
    content = json.loads(file.path.read_text())
    assert (content["version"], content["crypto"]["kdf"]) == (3, "scrypt")
    assert content["address"].removeprefix("0x").lower() == file.address.hex()
    account = accounts.unlock(file.path, "secret")
    assert bytes.fromhex(account.address[2:]) == file.address


def test_key_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert accounts.key_files(tmp_path / "nowhere") == ()
    first = accounts.new(tmp_path, "a", iterations=CHEAP)
    second = accounts.new(tmp_path, "b", iterations=CHEAP)
    (tmp_path / "note.txt").write_text("hello")
    assert accounts.key_files(tmp_path) == (first, second)
    assert "note.txt is not a key file" in caplog.text
    assert bytes.fromhex(accounts.load(tmp_path, second.address, "b").address[2:]) == second.address


def test_wrong_password_and_wrong_files(tmp_path: Path) -> None:
    file = accounts.new(tmp_path, "a", iterations=CHEAP)
    with pytest.raises(ConfigurationError, match="can't be decrypted"):
        accounts.unlock(file.path, "b")
    with pytest.raises(ConfigurationError, match="no key file for account 0x11"):
        accounts.load(tmp_path, b"\x11" * 20, "a")
    for content in ("{", "[]", '{"version": 3}'):
        path = tmp_path / "bad"
        path.write_text(content)
        with pytest.raises(ConfigurationError):
            accounts.unlock(path, "a")


def test_reads_files_of_other_software(tmp_path: Path) -> None:
    # The PBKDF2 vector of the definition of Web3 Secret Storage.
    path = tmp_path / "vector"
    path.write_text(json.dumps({
        "crypto": {
            "cipher": "aes-128-ctr", "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46", "kdf": "pbkdf2",
            "kdfparams": {
                "c": 262144, "dklen": 32, "prf": "hmac-sha256",
                "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
            "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}))
    assert accounts.unlock(path, "testpassword").key.hex() == (
        "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d")


def test_development_accounts() -> None:
    first, *rest = accounts.development_accounts()
    assert first.address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert len(rest) == 9


def test_sign_transfer() -> None:
    account = Account.from_key(b"\x01" * 32)
    raw = accounts.sign_transfer(
        account, chain_id=52188, nonce=4, to=b"\x22" * 20, value=5, max_fee=9, max_priority_fee=2)
    transaction = decode(raw, Rules())
    assert transaction.sender == bytes.fromhex(account.address[2:])
    assert (transaction.type, transaction.nonce, transaction.to, transaction.value) == (2, 4, b"\x22" * 20, 5)
    assert (transaction.max_fee, transaction.max_priority_fee, transaction.gas_limit) == (9, 2, 21_000)
