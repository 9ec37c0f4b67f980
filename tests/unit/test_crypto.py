"""Hashes and signatures by published vectors; whatever is malformed is False, never an error.

References
----------
RFC 8032, section 7.1; the vectors of BIP-340; RFC 6979, appendix A.2.5, for the manner of the ECDSA cases.
"""

import hashlib

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from executors.crypto import DIGESTS, SCHEMES
from ingest.signatures import CURVE_ORDER, HALF_ORDER

FIELD = 2**256 - 2**32 - 977
"""The prime of secp256k1."""
EDWARDS_ORDER = 2**252 + 27742317777372353535851937790883648493

ED25519 = (
    ("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", b"",
     ("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
     "655141438e7a100b")),
    ("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", b"\x72",
     ("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aee"
     "b00d291612bb0c00")),
    ("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", b"\xaf\x82",
     ("6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28d"
     "c027beceea1ec40a")),
    ("ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", hashlib.sha512(b"abc").digest(),
     ("dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17a"
     "d9bef1177331a704")))
"""Public key, message, signature."""

_KEY = "DFF1D77F2A671C5F36183726DB2341BE58FEAE1DA2DECED843240F7B502BA659"
_HASH = "243F6A8885A308D313198A2E03707344A4093822299F31D0082EFA98EC4E6C89"
_S = "69E89B4C5564D00349106B8497785DD7D1D713A8AE82B32FA79D5F7FC407D39B"
_R = "6CFF5C3BA86C69EA4B7376F31A9BCB4F74C1976089B2D9963DA2E5543E177769"
BIP340 = (
    ("F9308A019258C31049344F85F89D5229B531C845836F99B08601F113BCE036F9", "00" * 32,
     ("E907831F80848D1069A5371B402410364BDF1C5F8307B0084C55F1CE2DCA8215"
     "25F66A4A85EA8B71E482A74F382D2CE5EBEEE8FDB2172F477DF4900D310536C0"), True),
    (_KEY, _HASH,
     ("6896BD60EEAE296DB48A229FF71DFE071BDE413E6D43F917DC8DCF8C78DE3341"
     "8906D11AC976ABCCB20B091292BFF4EA897EFCB639EA871CFA95F6DE339E4B0A"), True),
    ("DD308AFEC5777E13121FA72B9CC1B7CC0139715309B086C960E18FD969774EB8",
     "7E2D58D8B3BCDF1ABADEC7829054F90DDA9805AAB56C77333024B9D0A508B75C",
     ("5831AAEED7B44BB74E5EAB94BA9D4294C49BCF2A60728D8B4C200F50DD313C1B"
     "AB745879A5AD954A72C45A91C3A51D3C7ADEA98D82F8481E0E1E03674A6F3FB7"), True),
    ("25D1DFF95105F5253C4022F628A996AD3A0D95FBF21D468A1B33F8C160D8F517", "FF" * 32,
     ("7EB0509757E246F19449885651611CB965ECC1A187DD51B64FDA1EDC9637D5EC"
     "97582B9CB13DB3933705B32BA982AF5AF25FD78881EBB32771FC5922EFC66EA3"), True),
    ("D69C3509BB99E412E68B0FE8544E72837DFA30746D8BE2AA65975F29D22DC7B9",
     "4DF3C3F68FCC83B27E9D42C90431A72499F17875C81A599B566C9889B9696703",
     ("00000000000000000000003B78CE563F89A0ED9414F5AA28AD0D96D6795F9C63"
     "76AFB1548AF603B3EB45C9F8207DEE1060CB71C04E80F593060B07D28308D7F4"), True),
    ("EEFDEA4CDB677750A420FEE807EACF21EB9898AE79B9768766E4FAA04A2D4A34", _HASH, _R + _S, False),
    (_KEY, _HASH,
     ("FFF97BD5755EEEA420453A14355235D382F6472F8568A18B2F057A1460297556"
     "3CC27944640AC607CD107AE10923D9EF7A73C643E166BE5EBEAFA34B1AC553E2"), False),
    (_KEY, _HASH,
     ("1FA62E331EDBC21C394792D2AB1100A7B432B013DF3F6FF4F99FCB33E0E1515F"
     "28890B3EDB6E7189B630448B515CE4F8622A954CFE545735AAEA5134FCCDB2BD"), False),
    (_KEY, _HASH, _R + "961764B3AA9B2FFCB6EF947B6887A226E8D7C93E00C5ED0C1834FF0D0C2E6DA6", False),
    (_KEY, _HASH, "00" * 32 + "123DDA8328AF9C23A94C1FEECFD123BA4FB73476F0D594DCB65C6425BD186051", False),
    (_KEY, _HASH, "00" * 31 + "01" + "7615FBAF5AE28864013C099742DEADB4DBA87F11AC6754F93780D5A1837CF197", False),
    (_KEY, _HASH, "4A298DACAE57395A15D0795DDBFD1DCB564DA82B0F269BC70A74F8220429BA1D" + _S, False),
    (_KEY, _HASH, f"{FIELD:064X}" + _S, False),
    (_KEY, _HASH, _R + f"{CURVE_ORDER:064X}", False),
    (f"{FIELD + 1:064X}", _HASH, _R + _S, False))
"""Public key, message, signature, whether it verifies: vectors 0 to 14."""


@pytest.mark.parametrize(("name", "data", "expected"), [
    ("keccak256", b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
    ("keccak256", b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ("sha256", b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ("sha256", b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("blake2b256", b"abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"),
    ("blake2b256", b"", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"),
])  # fmt: skip
def test_digests(name: str, data: bytes, expected: str) -> None:
    """Published values; BLAKE2b with 32 bytes isn't the cut one of 64."""
    assert DIGESTS[name](data).hex() == expected


def test_what_there_is() -> None:
    """Names are what contracts use."""
    assert set(DIGESTS) == {"keccak256", "sha256", "blake2b256"}
    assert set(SCHEMES) == {"secp256k1", "ed25519", "bip340"}


@pytest.mark.parametrize(("key", "message", "signature"), ED25519)
def test_ed25519(key: str, message: bytes, signature: str) -> None:
    """The vectors verify, and nothing that differs in one bit does."""
    verify = SCHEMES["ed25519"]
    public, made = bytes.fromhex(key), bytes.fromhex(signature)
    assert verify(message, made, public)
    assert not verify(message + b"\0", made, public)
    for place in (0, 31, 32, 63):
        assert not verify(message, flipped(made, place), public)
    assert not verify(message, made, flipped(public, 3))


def test_ed25519_takes_one_form_of_a_signature_only() -> None:
    """A number that is one order higher says the same, and is refused (RFC 8032, section 5.1.7)."""
    key, message, signature = ED25519[1]
    made = bytes.fromhex(signature)
    higher = int.from_bytes(made[32:], "little") + EDWARDS_ORDER
    assert not SCHEMES["ed25519"](message, made[:32] + higher.to_bytes(32, "little"), bytes.fromhex(key))


@pytest.mark.parametrize(("key", "message", "signature", "valid"), BIP340)
def test_bip340(key: str, message: str, signature: str, valid: bool) -> None:
    """The vectors with messages of 32 bytes."""
    parts = (bytes.fromhex(message), bytes.fromhex(signature), bytes.fromhex(key))
    assert SCHEMES["bip340"](*parts) is valid
    if valid:
        assert not SCHEMES["bip340"](flipped(parts[0], 0), *parts[1:])


SECRET = PrivateKey(b"\x07" * 32)
MESSAGE = hashlib.sha256(b"message").digest()


def ecdsa(message_hash: bytes) -> bytes:
    """r and s of the signature of `SECRET`."""
    return SECRET.sign_recoverable(message_hash, hasher=None)[:64]


def test_secp256k1() -> None:
    """Both forms of the key do; another message, key or signature doesn't."""
    verify, made = SCHEMES["secp256k1"], ecdsa(MESSAGE)
    short, long = (SECRET.public_key.format(compressed=each) for each in (True, False))
    assert verify(MESSAGE, made, short) is True
    assert verify(MESSAGE, made, long) is True
    assert verify(flipped(MESSAGE, 0), made, short) is False
    assert verify(MESSAGE, flipped(made, 5), short) is False
    assert verify(MESSAGE, made, PrivateKey(b"\x08" * 32).public_key.format()) is False


def test_secp256k1_by_a_published_signature() -> None:
    """Of the key 1 over the hash of a known sentence, by RFC 6979."""
    one = PrivateKey((1).to_bytes(32, "big")).public_key.format()
    made = bytes.fromhex(
        "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
        "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5")
    assert SCHEMES["secp256k1"](hashlib.sha256(b"Satoshi Nakamoto").digest(), made, one)


def test_secp256k1_refuses_the_high_one_of_two() -> None:
    """Anybody can turn s around; only the low one is taken (EIP-2)."""
    made, key = ecdsa(MESSAGE), SECRET.public_key.format()
    s = int.from_bytes(made[32:], "big")
    assert s <= HALF_ORDER
    assert not SCHEMES["secp256k1"](MESSAGE, made[:32] + (CURVE_ORDER - s).to_bytes(32, "big"), key)


@pytest.mark.parametrize("number", [0, CURVE_ORDER, CURVE_ORDER + 1, FIELD, 2**256 - 1])
@pytest.mark.parametrize("place", [0, 32])
def test_secp256k1_refuses_numbers_out_of_range(number: int, place: int) -> None:
    """As r and as s; no number is taken modulo the order."""
    made, key = bytearray(ecdsa(MESSAGE)), SECRET.public_key.format()
    made[place:place + 32] = number.to_bytes(32, "big")
    assert not SCHEMES["secp256k1"](MESSAGE, bytes(made), key)


@given(st.binary(min_size=32, max_size=32))
def test_secp256k1_encodes_every_number(message_hash: bytes) -> None:
    """Those with zeros in front, and those whose highest bit is set, which the encoding treats differently."""
    assert SCHEMES["secp256k1"](message_hash, ecdsa(message_hash), SECRET.public_key.format())


def test_secp256k1_with_zeros_in_front() -> None:
    """A number that is shorter than 32 bytes."""
    for count in range(2_000):
        message_hash = hashlib.sha256(b"%d" % count).digest()
        made = ecdsa(message_hash)
        if made[0] == 0 or made[32] == 0:
            assert SCHEMES["secp256k1"](message_hash, made, SECRET.public_key.format())
            return
    pytest.fail("no such signature among those tried")


@pytest.mark.parametrize("scheme", SCHEMES)
@given(message=st.binary(max_size=70), signature=st.binary(max_size=70), key=st.binary(max_size=70))
def test_whatever_is_malformed_is_false(scheme: str, message: bytes, signature: bytes, key: bytes) -> None:
    """No length and no content raises."""
    assert SCHEMES[scheme](message, signature, key) is False


@pytest.mark.parametrize(("scheme", "good"), [
    ("ed25519", (ED25519[1][1], bytes.fromhex(ED25519[1][2]), bytes.fromhex(ED25519[1][0]))),
    ("bip340", tuple(bytes.fromhex(part) for part in (BIP340[1][1], BIP340[1][2], BIP340[1][0]))),
    ("secp256k1", (MESSAGE, ecdsa(MESSAGE), SECRET.public_key.format())),
])  # fmt: skip
def test_lengths(scheme: str, good: tuple[bytes, bytes, bytes]) -> None:
    """One byte more or less anywhere is malformed."""
    verify = SCHEMES[scheme]
    message, signature, key = good
    assert verify(*good) is True
    for data in (message[:-1], message + b"\0"):
        assert verify(data, signature, key) is False
    for made in (signature[:-1], signature + b"\0", b""):
        assert verify(message, made, key) is False
    for public in (key[:-1], key + b"\0", b"", bytes(len(key))):
        assert verify(message, signature, public) is False


def test_secp256k1_refuses_keys_that_are_no_points() -> None:
    """Off the curve, with another prefix, and the hybrid form, which says the parity twice."""
    made, long = ecdsa(MESSAGE), SECRET.public_key.format(compressed=False)
    verify = SCHEMES["secp256k1"]
    assert not verify(MESSAGE, made, flipped(long, 40))
    assert not verify(MESSAGE, made, b"\x05" + long[1:33])
    assert not verify(MESSAGE, made, bytes((6 + (long[64] & 1),)) + long[1:])


def flipped(data: bytes, place: int) -> bytes:
    """With one bit turned around."""
    return data[:place] + bytes((data[place] ^ 1,)) + data[place + 1:]
