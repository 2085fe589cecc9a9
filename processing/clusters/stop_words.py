"""Words that say nothing of what somebody wants, in the languages that prompts are mostly written in."""

from typing import Final

STOP_WORDS: Final = frozenset(
    """
    a about after again all also am an and any are as at be because been before being below between both but by can
    could d did do does doing don down during each few for from further get give had has have having he hello help her
    here hers hey hi him his how i if in into is it its just know let like ll m make may me might more most must my need
    no nor not now of off ok okay on once one only or other our out over own please pls put quick question re s same see
    shall she should so some such t take tell than thank thanks that the their them then there these they this those
    through to too under until up use ve very want was we were what when where which while who whom why will with would
    yes you your yours good morning afternoon evening dear advance keep
    aber alle als am an auch auf aus bei beim bin bis bist bitte da damit danke dann das dass dein dem den der des die
    dies diese diesem diesen dieser dieses doch du durch ein eine einem einen einer eines er es etwas für gibt hab habe
    haben hallo hat hatte ich ihr im in ist ja kann kannst können man mein meine meinen mich mir mit möchte muss nach
    nicht noch nur ob oder ohne schon sehr sein seine sich sie sind so über um und uns unser vom von vor war was wenn
    wer werden wie will wir wird wo zu zum zur
    al algo como con cómo cuál cuando de del dónde e el ella ellos en era es esa ese eso esta este esto está estoy fue
    gracias ha hay hola la las le lo los me mi mis muy más ni nos o para pero por porque porfavor puedo puede que quiero
    qué se ser si sin sobre son su sus también te tengo tu un una uno y ya yo
    ai au aux avec bonjour ce ces cette ceci cela comment dans de des donc du elle en est et eux il ils j je l la le les
    leur lui ma mais me merci mes moi mon ne nos notre nous on ou où par pas peux plus pour pouvez qu que quel quelle
    qui sa sans se ses son sur ta te tes toi ton tu un une veux voici vos votre vous à été être
    che ci come con cosa da dei del della delle di e gli grazie ho i il io la le lo ma mi nel non per più quale questo
    se si sono su un una vorrei
    as com como da das do dos e em eu isso mais meu minha na nas no nos não o obrigado os ou para pela pelo por que
    quero se sem seu sua um uma você
    """.split()  # noqa: SIM905 - a list of a thousand quotation marks reads worse
)
