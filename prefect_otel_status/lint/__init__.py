"""Static checks of code that says statuses: it is read with `ast`, never imported or run.

Each finding has a stable code and says what to write instead. `# noqa` or
`# noqa: POS001` on its line suppresses it. Only calls that lead to this package
by the file's own imports are looked at: better silent than wrong.
"""

from __future__ import annotations

from prefect_otel_status.lint.finding import Finding as Finding
from prefect_otel_status.lint.formats import as_github as as_github
from prefect_otel_status.lint.formats import as_json as as_json
from prefect_otel_status.lint.formats import as_text as as_text
from prefect_otel_status.lint.linter import lint_paths as lint_paths
from prefect_otel_status.lint.linter import lint_source as lint_source
