"""AttnLRP: edge attribution patching with relevance rules for attention's products too."""

from __future__ import annotations

from dataclasses import dataclass

from methods.eap import EAP
from methods.rules.gradient_rules import ATTN_LRP, GradientRules


@dataclass(frozen=True)
class AttnLRP(EAP):
    """EAP with the rules of RelP, and half of what attention does for its values, a quarter for its queries
    and keys each.

    Achtibat et al. attribute a prediction to its inputs: relevance is an input times what comes back to it.
    As for RelP, the input's place is taken here by what removing an edge would change of it.
    """

    name = "attn_lrp"
    description = "AttnLRP: EAP with relevance propagation's rules, attention's products included"
    citation = """@inproceedings{achtibat2024attnlrp,
  title={AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers},
  author={Achtibat, Reduan and Hatefi, Sayed Mohammad Vakilzadeh and Dreyer, Maximilian and Jain, Aakriti
    and Wiegand, Thomas and Lapuschkin, Sebastian and Samek, Wojciech},
  booktitle={International Conference on Machine Learning},
  year={2024},
  note={arXiv:2402.05602}
}"""

    def rules(self) -> GradientRules:
        """As its authors set them."""
        return ATTN_LRP
