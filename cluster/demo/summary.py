"""What the demonstration found, for people and for machines."""

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from ledger.audit import Report

from .figures import Figures
from .flow import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A demonstration in which everything held."""

    transactions: int
    receipts: int
    rounds: tuple[Round, ...]
    figures: Figures
    audit: Report
    audit_s: float
    ready_s: float
    """How long everything took to start."""
    seconds: float
    """All in all."""

    def document(self) -> dict[str, Any]:
        """For machines."""
        figures, audit = self.figures, self.audit
        return {
            "ok": True,
            "transactions": self.transactions,
            "receipts": self.receipts,
            "supply_conserved": True,
            "rounds": [
                {
                    "name": part.name,
                    "transactions": part.transactions,
                    "seconds": round(part.seconds, 3),
                    "transactions_per_second": round(part.per_second, 1),
                    "latency_ms_p50": round(part.latency_ms(0.5), 1),
                    "latency_ms_p99": round(part.latency_ms(0.99), 1),
                    "killed": [{"process": name, "stalled_seconds": round(stall, 3)} for name, stall in part.stalls],
                }
                for part in self.rounds],
            "epochs": figures.epochs,
            "blocks": figures.blocks,
            "epochs_parallel": figures.parallel,
            "lanes_repaired": figures.repaired,
            "lanes_excluded": figures.excluded,
            "carried": figures.carried,
            "waited_for_nonce": figures.waited,
            "keys_stale": figures.stale,
            "keys_lost": figures.lost,
            "votes": {str(shard): count for shard, count in sorted(figures.votes.items())},
            "audit": {
                "identical": audit.identical,
                "blocks": audit.blocks,
                "transactions": audit.transactions,
                "receipts": audit.receipts,
                "prepares": audit.prepares,
                "digests": audit.digests,
                "seconds": round(self.audit_s, 3),
            },
            "ready_seconds": round(self.ready_s, 3),
            "seconds": round(self.seconds, 3),
        }

    def table(self) -> Table:
        """For people."""
        figures, audit = self.figures, self.audit
        rows = [("transactions", f"{self.transactions:,}, a receipt for each")]
        rows += [
            (
                part.name,
                (f"{part.transactions:,} in {part.seconds:.1f} s: {part.per_second:,.0f} a second, "
                f"p50 {part.latency_ms(0.5):,.0f} ms, p99 {part.latency_ms(0.99):,.0f} ms"))
            for part in self.rounds]
        rows += [
            (f"killed {name}", f"no receipt for {stall:.1f} s, nothing lost or doubled")
            for part in self.rounds for name, stall in part.stalls]
        rows += [
            ("epochs", f"{figures.epochs:,}, in {figures.parallel:,} of them both lanes committed"),
            ("blocks", f"{figures.blocks:,}"),
            ("votes", ", ".join(f"{count:,} of shard {shard}" for shard, count in sorted(figures.votes.items()))),
            ("conflicts", f"{figures.stale:,} keys stale, {figures.lost:,} lost"),
            ("repaired", f"{figures.repaired:,} lanes"),
            ("carried", f"{figures.carried:,} times a transaction went to the lane that won"),
            ("waited", f"{figures.waited:,} times a transaction waited for a nonce"),
            ("excluded", f"{figures.excluded:,} lanes of dead or late executors"),
            ("supply", "of both tokens and of ether conserved; every balance is what the receipts add up to"),
            (
                "audit",
                (f"{audit.transactions:,} transactions, {audit.receipts:,} receipts, {audit.prepares:,} prepares and "
                f"{audit.digests:,} digests identical in {self.audit_s:.1f} s")),
            ("time", f"{self.seconds:.0f} s, of which {self.ready_s:.0f} s to start"),
        ]
        table = Table(show_header=False, title="parsec demo")
        for row in rows:
            table.add_row(*row)
        return table

    def last_line(self) -> str:
        """What a script may look for."""
        return f"demo ok: {self.transactions} transactions, {self.receipts} receipts, supply conserved, audit identical"
