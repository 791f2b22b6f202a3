"""Losses that ask only for what the model is shown: a mask that is inverted, written into the labels, or not passed on."""

from trainability.doctor.finding import Finding, Measurement

_SHOWN_VALUES = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="a random part of the batch is hidden from the model, and the loss counts only what is not hidden: each output that "
    "counts depends on the number that it has to predict",
    measurements=(Measurement(name="hidden places that the loss counts", value=0.0, threshold=1.0),),
    cause="the mask is 1 for kept values, and the loss takes it as 1 for hidden ones, or the other way round",
    remedy="take the loss where the input was hidden: ((output - target) ** 2 * hidden).sum() / hidden.sum(), with hidden = "
    "1 - mask if the mask marks kept values, and hidden = mask if it marks removed ones",
    source="He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022, section 3; own: gradients with respect "
    "to the batch",
)
_SHOWN_WORDS = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="every token that the loss counts is the one that the model is given at that position, and most of them are the "
    "same token, which occurs nowhere else: a mask token",
    measurements=(Measurement(name="hidden tokens that the loss counts", value=0.0, threshold=1.0),),
    cause="labels and input are the same tensor: tokens were replaced by the mask in place, and so in the labels",
    remedy="labels = input_ids.clone() before input_ids[mask] = mask_token_id",
    source="Devlin et al., BERT, NAACL 2019, section 3.1; own: the gradient of the logits compared with the tokens",
)
_SHOWN_OTHERS = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="every token that the loss asks for is the one that the model is given at that place, and the places amid them that "
    "it leaves out hold one and the same token, which stands nowhere else: a mask's own",
    measurements=(Measurement(name="hidden tokens that are asked for", value=0.0, threshold=1.0),),
    cause="ignore_index is written where tokens were masked, in place of everywhere else",
    remedy="labels[~mask] = -100, where mask is True for the tokens that were replaced by the mask",
    source="Devlin et al., BERT, NAACL 2019, section 3.1; the gradient of the logits beside the tokens",
)
_SHOWN_SOME = Finding(
    rule="masked_targets",
    code="masked_targets.shown",
    severity="warning",
    seen="the loss asks for some of the tokens, between others that it ignores, and the model is given every one of them: the "
    "output there changes with it",
    measurements=(Measurement(name="hidden tokens that are asked for", value=0.0, threshold=1.0),),
    cause="the model is given the tokens themselves, and not the copy in which some are masked: it learns to return them",
    remedy="pass the masked copy to the model: model(ids.masked_fill(mask, mask_token_id)), with labels = "
    "ids.masked_fill(~mask, -100)",
    source="Devlin et al., BERT, NAACL 2019, section 3.1; the gradient of the logits beside the tokens",
)
SHOWN = {"words": _SHOWN_WORDS, "values": _SHOWN_VALUES, "others": _SHOWN_OTHERS, "some": _SHOWN_SOME}
