"""For pipelines of Ray Data: batches of images in, a row per image out, its faces nested."""

from typing import Any

import cv2

from mien.analyzer import AnalyzerSettings
from mien.errors import InputError, require_extra
from mien.faces import ERROR
from mien.output.rows import rows_of, table_columns
from mien.output.tables import arrow_schema
from mien.sources.images import Failed, Item, SourceSettings

PATH, BYTES, FACES = "path", "bytes", "faces"


class AnalyzeBatch:
    """Analyzes Arrow batches of images; for `Dataset.map_batches` with an actor pool.

        images = ray.data.read_binary_files("photos/", include_paths=True)
        faces = images.map_batches(
            mien.cluster.AnalyzeBatch, batch_format="pyarrow", batch_size=16,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=8),
        )

    Images are decoded here, so that a broken one costs a row with an `error`, not the job, as `read_images` does.
    `mien.cluster.analyze` needs none of this, and is the one that survives crashes; docs/scale.md says why.
    """

    def __init__(self, settings: AnalyzerSettings | None = None, reading: SourceSettings | None = None) -> None:
        """Open the analyzer, with one thread for each library.

        Args:
            settings: Detector and model.
            reading: Limits on images.

        Raises:
            MienError: It cannot be opened.
        """
        cv2.setNumThreads(1)
        self._analyzer = (settings or AnalyzerSettings()).open()
        self._reading = reading or SourceSettings()
        arrow: Any = require_extra("ray", "pyarrow")
        self._columns = table_columns(self._analyzer.labels, attributes=self._analyzer.attributes)
        of_faces = arrow_schema([name for name in self._columns if name not in ("source", ERROR)])
        self._faces = arrow.list_(arrow.struct(list(of_faces)))

    def __call__(self, batch: Any) -> Any:
        """Return the batch with the columns `faces` and `error` in place of `bytes`.

        Args:
            batch: `pyarrow.Table` with the column `path`, and `bytes` with the content of each file, or without, where
                the paths can be read from the nodes.

        Returns:
            `pyarrow.Table` with a row per image. `faces` is a list of structs with the columns of rows; empty where
            there is none.

        Raises:
            InputError: There is no column `path`.
        """
        arrow: Any = require_extra("ray", "pyarrow")
        if PATH not in batch.column_names:
            raise InputError(f"the batch needs a column {PATH!r}; read_binary_files(…, include_paths=True) makes it")
        paths = batch.column(PATH).to_pylist()
        given = batch.column(BYTES) if BYTES in batch.column_names else None
        items = (
            Item(path, _path(path) if given is None else given[number].as_py()) for number, path in enumerate(paths)
        )
        faces: list[list[dict[str, Any]]] = []
        errors: list[str | None] = []
        labels, attributes = self._analyzer.labels, self._analyzer.attributes
        for result in self._analyzer.map_items(items, settings=self._reading, workers=1):
            if isinstance(result, Failed):
                errors.append(str(result.error))
                faces.append([])
                continue
            errors.append(None)
            rows = rows_of(result[1], labels, keep_empty=False, attributes=attributes)
            faces.append([{name: row[name] for name in row if name not in ("source", ERROR)} for row in rows])
        kept = batch.drop_columns([BYTES]) if given is not None else batch
        kept = kept.append_column(FACES, arrow.array(faces, self._faces))
        return kept.append_column(ERROR, arrow.array(errors, arrow.string()))


def _path(path: str) -> Any:
    from mien.sources.images import expand

    return expand(path)[0].origin
