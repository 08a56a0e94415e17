"""Golden candidates: the published perinucleus rule, written down in torch's own words.

Rule (arXiv 2502.07760, section 3; the same selection as in the authors' data script): sort the logits, take the
cumulative softmax, keep the positions where it reaches the threshold, leave out the first of them (it is the last
token of the nucleus), and take the next k. Run: python make.py > perinucleus.json
"""

import json

import torch

CASES = [(64, 0.8, 3, 1.0), (64, 0.8, 3, 3.0), (64, 0.9, 1, 2.0), (256, 0.5, 16, 1.5), (256, 0.95, 8, 4.0), (32, 0.8, 3, 8.0)]


def main():
    torch.manual_seed(20250211)
    cases = []
    for vocabulary, threshold, width, spread in CASES:
        for _ in range(4):
            logits = torch.randn(vocabulary) * spread
            probabilities, order = torch.sort(torch.softmax(logits.double(), dim=-1), descending=True)
            reached = torch.where(torch.cumsum(probabilities, dim=-1) >= threshold)[0]
            candidates = order[reached[1:][:width]].tolist()
            cases.append({
                "threshold": threshold,
                "width": width,
                "logits": logits.tolist(),
                "candidates": candidates,
            })
    print(json.dumps(cases))


main()
