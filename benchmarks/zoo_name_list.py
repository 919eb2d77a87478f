"""The names that zoo_names.py runs: a small network of each family that torchvision and timm have, quick ones first."""

from __future__ import annotations

NAMES = tuple(
    f"{source}:{name}"
    for source, names in (
        (
            "timm",
            "mobilenetv4_conv_small mobilenetv3_small_100 mobilenetv1_100 lcnet_050 tinynet_e ghostnet_050 efficientvit_b0 "
            "repvit_m0_9 edgenext_xx_small mobilevit_xxs mobilevitv2_050 repghostnet_050 mobileone_s0 repvgg_a0 starnet_s1",
        ),
        (
            "torchvision",
            "mobilenet_v3_small mobilenet_v2 mnasnet0_5 shufflenet_v2_x0_5 squeezenet1_1 resnet18 googlenet regnet_y_400mf "
            "regnet_x_400mf alexnet efficientnet_b0",
        ),
        (
            "timm",
            "vit_tiny_patch16_224 resmlp_12_224 poolformer_s12 mixer_s32_224 convnextv2_atto tiny_vit_5m_224 resnet26d "
            "regnety_002 gernet_s hgnetv2_b0 selecsls42b dla46_c ese_vovnet19b_dw resnest14d skresnet18 ecaresnet26t "
            "seresnet33ts tf_efficientnet_lite0 semnasnet_075 spnasnet_100 hardcorenas_a fbnetc_100 efficientvit_m0 "
            "swiftformer_xs levit_128s efficientformer_l1 shvit_s1 efficientformerv2_s0 fastvit_t8 ghostnetv2_100 mambaout_femto "
            "inception_next_atto pvt_v2_b0 botnet26t_256 lambda_resnet26t rexnet_100 tf_efficientnetv2_b0 mixnet_s "
            "mobilenetv4_hybrid_medium coat_lite_tiny xcit_nano_12_p16_224 eca_nfnet_l0 nf_regnet_b0 convit_tiny "
            "visformer_tiny eva02_tiny_patch14_224 tf_efficientnet_b0 fbnetv3_b cspresnet50 resnetv2_50 hrnet_w18_small",
        ),
        ("torchvision", "convnext_tiny densenet121 inception_v3 vgg11_bn resnext50_32x4d swin_t vit_b_16"),
        (
            "timm",
            "deit3_small_patch16_224 swin_tiny_patch4_window7_224 poolformerv2_s12 convformer_s18 caformer_s18 gmlp_s16_224 "
            "focalnet_tiny_srf davit_tiny twins_svt_small nest_tiny nextvit_small crossvit_tiny_240 coatnet_nano_rw_224 "
            "res2net50_14w_8s gcvit_xxtiny mvitv2_tiny cait_xxs24_224 rdnet_tiny xception41 dpn48b volo_d1_224 "
            "swinv2_tiny_window8_256 ghostnetv3_050 halonet26t beit_base_patch16_224 hiera_tiny_224 convmixer_768_32 "
            "sequencer2d_s",
        ),
        ("torchvision", "efficientnet_v2_s swin_v2_t maxvit_t"),
    )
    for name in names.split()
)
