"""Who works on a task: a claim ends with its owner, dead or alive, here or elsewhere."""

import os
import subprocess
import time

import pytest

from hpe.io.files import write_json
from hpe.study.claims import STALE_S, Claims, Owner, start_time, this_process


def test_a_claim_ends_with_its_owner(tmp_path):
    claims = Claims(tmp_path / "claims")
    assert claims.take("a")
    assert not Claims(tmp_path / "claims").take("a")
    sleeper = subprocess.Popen(["sleep", "600"])
    owner = Owner(claims.owner.host, sleeper.pid, start_time(sleeper.pid))
    write_json(tmp_path / "claims" / "b.json", vars(owner))
    assert claims.holder("b") == owner
    assert not claims.take("b")
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie until its parent asks
    assert claims.holder("b") is None
    sleeper.wait()
    assert claims.take("b")
    assert claims.holder("b") == this_process()


def test_a_later_process_of_the_same_number_is_another(tmp_path):
    claims = Claims(tmp_path)
    me = this_process()
    if not me.started:
        pytest.skip("the system does not tell when a process began")
    write_json(tmp_path / "a.json", vars(Owner(me.host, me.pid, me.started - 1)))
    assert claims.take("a")


def test_a_claim_of_another_machine_lasts_until_it_is_stale(tmp_path):
    claims, path = Claims(tmp_path), tmp_path / "a.json"
    write_json(path, vars(Owner("elsewhere", 1, 5)))
    assert not claims.take("a")
    old = time.time() - STALE_S - 1
    os.utime(path, (old, old))
    assert claims.take("a")
    path.write_text("{")  # cut short
    assert claims.take("a")


def test_a_claim_that_another_machine_took_over_stays_its_own(tmp_path):
    claims, path = Claims(tmp_path), tmp_path / "a.json"
    assert claims.take("a")
    other = Owner("elsewhere", 1, 5)
    write_json(path, vars(other))
    old = time.time() - STALE_S / 2
    os.utime(path, (old, old))
    claims.renew("a")
    assert path.stat().st_mtime == pytest.approx(old, abs=1)
    claims.release("a")
    assert claims.holder("a") == other
    assert claims.take("b")
    claims.release("b")
    claims.release("b")
    assert claims.holder("b") is None


def test_who_only_looks_leaves_no_folder(tmp_path):
    assert Claims(tmp_path / "claims").holder("a") is None
    assert list(tmp_path.iterdir()) == []
