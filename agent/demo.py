"""The bundled sample from nothing to explained recommendations, shown as it happens."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from rich.markup import escape
from rich.padding import Padding
from rich.rule import Rule

from agent import sample, show
from agent.errors import UsageError
from agent.settings import load
from agent.wiring import Rapport, open_rapport

ORDER = ("mara", "lin", "otis", "theo", "greta", "nadia", "piet", "jules", "ines", "bram", "kavi", "yuna")
"""The telling ones first: two tastes, Chinese, three events, a taste that changed."""
EACH = 3


def run(*, llm: str | None, people: int, home: Path | None) -> None:
    """Import, index, profile and recommend for the first `people` of the sample."""
    with ExitStack() as stack:
        folder = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rapport-demo-")))
        # A database that is set for real data must not get the invented people.
        settings = load(home=folder, llm=llm, domain="film")
        settings = settings.model_copy(update={"database": ""})
        rapport = stack.enter_context(open_rapport(settings=settings))
        prepare(rapport)
        shown = [name for name in ORDER if name in sample.PEOPLE][:people]
        written: list[str] = []
        started = time.perf_counter()
        for name in shown:
            written += present(rapport, name)
        seconds = time.perf_counter() - started
        by_model = sum(by == "model" for by in written)
        show.out.print(Rule())
        show.out.print(
            f"{len(shown)} people in {seconds:.0f} s by [bold]{escape(rapport.llm.name)}[/]: "
            f"{by_model} of {len(written)} texts passed every check as the model wrote them, "
            "the others were written by template from the same facts."
        )
        kept = escape(str(home))
        show.out.print(
            "Next: [bold]rapport import PATH[/] with your own data, or [bold]rapport --help[/]."
            if home is None
            else f"The demo's state is in {kept}: [bold]rapport recommend mara --home {kept}[/]"
        )


def prepare(rapport: Rapport) -> None:
    """The sample, imported and indexed. Raises UsageError where the home holds other people."""
    if others := set(rapport.store.users()) - set(sample.PEOPLE):
        raise UsageError(f"{rapport.settings.home} holds other people ({len(others)}): give the demo a home of its own")
    films, events = sample.films(), sample.events()
    rapport.store.add_items(films)
    rapport.store.add_events(events)
    rapport.store.set_meta("domain", "film")
    with show.progress(f"embedding {len(films)} films") as progress:
        rapport.build_index(progress)
    show.out.print(
        f"[bold]Rapport[/] · {len(films)} films and {len(events)} events of {len(sample.PEOPLE)} invented people · "
        f"model {rapport.llm.name} · embeddings {rapport.embedder.name}"
    )


def present(rapport: Rapport, name: str) -> list[str]:
    """Show one person; returns who wrote each text."""
    with show.err.status(f"getting to know {name}"):
        profile = rapport.profile(name)
        answer = rapport.recommend(name, EACH)
    ids = {one.item for tag in profile.tags for one in tag.receipts} | {
        one.item for each in answer.items for one in each.receipts
    }
    titles = show.titles_of(rapport.store.items(ids))
    show.out.print()
    show.profile(profile, titles, receipts=1)
    show.out.print(Padding(show.listed(answer, titles), (0, 1)))
    return [profile.persona_by, *(one.written_by for one in answer.items)]
