"""AttnLRP: edge attribution patching with relevance propagation rules, also for attention's products."""

from __future__ import annotations

from dataclasses import dataclass

from methods.eap import EAP
from methods.rules.gradient_rules import ATTN_LRP, GradientRules


@dataclass(frozen=True)
class AttnLRP(EAP):
    """EAP with RelP's rules; in addition values get half of attention's gradient, queries and keys a quarter
    each.

    Achtibat et al. attribute a prediction to its inputs: relevance is an input times what is propagated back
    to it. Here, as for RelP, the input is replaced by the change in it that removing an edge makes.
    """

    name = "attn_lrp"
    description = "AttnLRP: EAP with relevance propagation rules, also for attention's products"
    citation = """@inproceedings{achtibat2024attnlrp,
  title={AttnLRP: Attention-Aware Layer-Wise Relevance Propagation for Transformers},
  author={Achtibat, Reduan and Hatefi, Sayed Mohammad Vakilzadeh and Dreyer, Maximilian and Jain, Aakriti
    and Wiegand, Thomas and Lapuschkin, Sebastian and Samek, Wojciech},
  booktitle={International Conference on Machine Learning},
  year={2024},
  note={arXiv:2402.05602}
}"""

    def rules(self) -> GradientRules:
        """The authors' settings."""
        return ATTN_LRP
