"""The public data sets that can be fetched: addresses, checksums, licences and citations.

The addresses are those of the publishers' pages, as public code uses them. No publisher but Zenodo states a checksum (an MD5). A
SHA-256 that is given here was recorded by other public projects (torch-em for BUS-BRA, dsFlower for BrEaST); it was not computed
from a download of ours. Where none is given, none is known: the SHA-256 of the first download is reported and recorded, and later
downloads are compared with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bcdseg.messages import check_choice

TCIA = "https://www.cancerimagingarchive.net/wp-content/uploads"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a public data set.

    Attributes:
        name: File name, under which it may also be put into the cache by hand.
        url: Address.
        sha256: Its checksum, or None if none is known.
    """

    name: str
    url: str
    sha256: str | None = None


@dataclass(frozen=True)
class PublicSet:
    """A public data set.

    Attributes:
        name: Name in ``bcdseg data fetch``.
        title: Name in messages.
        layout: Layout of its folder.
        page: Page of its publisher.
        licence: Licence and citation.
        sources: Files by the name of their source; an archive comes first. The first source is the publisher's.
        kaggle: Name of a copy on Kaggle, or None.
    """

    name: str
    title: str
    layout: str
    page: str
    licence: str
    sources: Mapping[str, tuple[RemoteFile, ...]]
    kaggle: str | None = field(default=None)

    @property
    def source_names(self) -> tuple[str, ...]:
        """The names of all sources, the publisher's first."""
        return (*self.sources, *(["kaggle"] if self.kaggle else []))


_SETS = (
    PublicSet(
        name="busi",
        title="BUSI",
        layout="busi",
        page="https://scholar.cu.edu.eg/?q=afahmy/pages/dataset",
        licence=(
            "BUSI, the Breast Ultrasound Images dataset, is listed on Kaggle as CC0 (public domain); its article is CC BY 4.0.\n"
            "Cite it wherever images are shown: W. Al-Dhabyani, M. Gomaa, H. Khaled, A. Fahmy, Dataset of breast ultrasound "
            "images, Data in Brief 28 (2020) 104863, doi 10.1016/j.dib.2019.104863."
        ),
        sources={"cairo": (RemoteFile("Dataset_BUSI.zip", "https://scholar.cu.edu.eg/Dataset_BUSI.zip"),)},
        kaggle="aryashah2k/breast-ultrasound-images-dataset",
    ),
    PublicSet(
        name="bus-bra",
        title="BUS-BRA",
        layout="bus_bra",
        page="https://zenodo.org/records/8231412",
        licence=(
            "BUS-BRA is CC BY 4.0 on Zenodo; the licence in its archive requests that every document and paper that uses it cite "
            "its article:\nW. Gómez-Flores, M. J. Gregorio-Calas, W. Coelho de Albuquerque Pereira, BUS-BRA: a breast ultrasound "
            "dataset for assessing computer-aided diagnosis systems, Medical Physics 51 (2024) 3110-3123, doi 10.1002/mp.16812."
        ),
        sources={
            "zenodo": (
                RemoteFile(
                    "BUSBRA.zip",
                    "https://zenodo.org/api/records/8231412/files/BUSBRA.zip/content",
                    "ba3e6ed19cc37c682d8d39e25435bbf8a555a12cb7e641b5f2117685c95580ff",
                ),
            )
        },
    ),
    PublicSet(
        name="breast",
        title="BrEaST",
        layout="breast",
        page="https://www.cancerimagingarchive.net/collection/breast-lesions-usg/",
        licence=(
            "BrEaST (Breast-Lesions-USG) is CC BY 4.0 at The Cancer Imaging Archive, whose data usage policy applies.\n"
            "Cite the data, doi 10.7937/9WKK-Q141, and the article: A. Pawłowska et al., Curated benchmark dataset for ultrasound "
            "based breast lesion analysis, Scientific Data 11 (2024) 148, doi 10.1038/s41597-024-02984-z."
        ),
        sources={
            "tcia": (
                RemoteFile(
                    "BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
                    f"{TCIA}/BrEaST-Lesions_USG-images_and_masks-Dec-15-2023.zip",
                    "c32e49cdfa54042e065582d0cb35978b5fc5e5b5e461b33bf773fb50cfdad355",
                ),
                RemoteFile(
                    "BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx",
                    f"{TCIA}/BrEaST-Lesions-USG-clinical-data-Dec-15-2023.xlsx",
                    "89a8874496a6f1f93960390b963f7369b90f7e72ee08a738f2d17e37f5eff8bf",
                ),
            )
        },
    ),
    PublicSet(
        name="bus-uclm",
        title="BUS-UCLM",
        layout="bus_uclm",
        page="https://data.mendeley.com/datasets/7fvgj4jsp7/1",
        licence=(
            "BUS-UCLM is CC BY-NC 4.0 by its authors' repository: for non-commercial use only. "
            "Read the licence on its page on Mendeley Data too.\n"
            "Cite N. Vallez et al., BUS-UCLM: breast ultrasound lesion segmentation dataset, Scientific Data 12 (2025) 242, "
            "doi 10.1038/s41597-025-04562-3."
        ),
        sources={
            "mendeley": (
                RemoteFile(
                    "7fvgj4jsp7-1.zip",
                    "https://prod-dcd-datasets-cache-zipfiles.s3.eu-west-1.amazonaws.com/7fvgj4jsp7-1.zip",
                ),
            )
        },
    ),
)
PUBLIC_SETS = {one.name: one for one in _SETS}
"""The public data sets by name."""


def public_set(name: str) -> PublicSet:
    """Return a public data set.

    Raises:
        OptionError: No public data set has this name; the message lists them.
    """
    check_choice("name", name, tuple(PUBLIC_SETS))
    return PUBLIC_SETS[name]
